"""Muons on straight lines through a stack of bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from samples.timing.bar import LIGHT_SPEED, Bar

__all__ = ["MUON_MASS", "Crossings", "Gun", "Muons", "cross", "shoot"]

MUON_MASS = 0.1056583755
"""GeV; PDG."""
GAP = 1.0
"""From the gun to the first bar, mm; RowanKell/work_eic, steering/sensor_sensitive."""
GUN_Z = (-732.0, 767.0)
"""Where the gun stands, mm; the same source."""
STEEPEST = 0.5
"""Degrees between a muon and the bar at least; chosen."""
LANDAU_K, LANDAU_J = 1.535e-4, 0.2
"""GeV cm²/g, half of PDG's K, and its j: energy loss in thin layers."""
Z_OVER_A, DENSITY, PLASMA = 0.54141, 1.032, 21.54e-9
"""Of polyvinyl toluene: mol/g, g/cm³, plasma energy in GeV; PDG."""
ELECTRON_MASS = 0.51099895e-3


@dataclass(frozen=True)
class Gun:
    """Where muons start and where to.

    Attributes:
        z: Interval of the vertex, mm.
        theta: Interval of the polar angle, degrees; None: every angle that enters the first bar.
        momentum: Interval, GeV.
        number: Muons per event.
    """

    z: tuple[float, float] = GUN_Z
    theta: tuple[float, float] | None = None
    momentum: tuple[float, float] = (0.1, 10.0)
    number: int = 1

    def __post_init__(self) -> None:
        limits = {"z": (-1e4, 1e4), "theta": (STEEPEST, 180 - STEEPEST), "momentum": (1e-5, 1e4)}
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if value is not None and not least <= value[0] <= value[1] <= most:
                message = f"{name} is {value[0]} to {value[1]}; it must rise within {least}, {most}"
                raise ValueError(message)
        if not 1 <= self.number <= 1000:
            message = f"muons per event is {self.number}; it must be 1 to 1000"
            raise ValueError(message)


class Muons(NamedTuple):
    """Muons at the gun, ``(n,)``: event, vertex z in mm, polar angle in rad, momentum in GeV."""

    event: np.ndarray
    z: np.ndarray
    theta: np.ndarray
    momentum: np.ndarray


class Crossings(NamedTuple):
    """Muons in bars, ``(m,)``, in order of muon and layer.

    Attributes:
        muon: Row in :class:`Muons`.
        layer: Of the bar.
        z: Where it enters, mm.
        time: When it enters, ns after the gun fired.
        momentum: There, GeV.
        length: Of the track in the bar, mm.
        energy: Deposited, GeV.
    """

    muon: np.ndarray
    layer: np.ndarray
    z: np.ndarray
    time: np.ndarray
    momentum: np.ndarray
    length: np.ndarray
    energy: np.ndarray


def shoot(gun: Gun, bar: Bar, events: int, rng: np.random.Generator) -> Muons:
    """Draw the muons of ``events`` events: z, angle, momentum uniform."""
    number = events * gun.number
    z = rng.uniform(*gun.z, number)
    if gun.theta is None:
        low = np.arctan2(GAP, np.maximum(bar.high - z, 0.0))
        high = np.arctan2(GAP, np.minimum(bar.low - z, 0.0))
        edge = np.radians(STEEPEST)
        low, high = np.maximum(low, edge), np.minimum(high, np.pi - edge)
    else:
        low, high = (np.radians(edge) for edge in gun.theta)
    theta = low + (high - low) * rng.random(number)
    return Muons(
        np.repeat(np.arange(events), gun.number), z, theta, rng.uniform(*gun.momentum, number)
    )


def cross(muons: Muons, bar: Bar, rng: np.random.Generator) -> Crossings:
    """Follow muons through all bars that they enter; they lose energy between the bars."""
    layer = np.arange(bar.layers)[None, :]
    slope = (np.cos(muons.theta) / np.sin(muons.theta))[:, None]
    flight = (GAP + bar.pitch * layer) / np.sin(muons.theta)[:, None]
    z = muons.z[:, None] + (GAP + bar.pitch * layer) * slope
    start = np.hypot(muons.momentum, MUON_MASS)[:, None]
    energy = start - bar.steel * layer / np.sin(muons.theta)[:, None]
    alive = (z > bar.low) & (z < bar.high) & (energy > MUON_MASS * 1.05)
    alive = np.logical_and.accumulate(alive, axis=1)
    muon, found = np.nonzero(alive)
    momentum = np.sqrt(energy[alive] ** 2 - MUON_MASS**2)
    before = np.sqrt(start**2 - MUON_MASS**2) / start
    speed = LIGHT_SPEED * np.broadcast_to(before, energy.shape)[alive]
    cosine, sine = np.cos(muons.theta)[muon], np.sin(muons.theta)[muon]
    end = np.where(cosine > 0, bar.high, bar.low)
    with np.errstate(divide="ignore"):
        length = np.minimum(bar.thickness / sine, np.abs((end - z[alive]) / cosine))
    return Crossings(
        muon,
        found,
        z[alive],
        flight[alive] / speed,
        momentum,
        length,
        _deposit(length, momentum, rng),
    )


def _deposit(length: np.ndarray, momentum: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Energy loss in GeV: Landau's most probable value, fluctuating like Moyal's distribution.

    The most probable value is that of fast particles with full density effect (PDG, passage of
    particles through matter), scaled with 1/β² for slow ones.
    """
    beta2 = momentum**2 / (momentum**2 + MUON_MASS**2)
    xi = LANDAU_K * Z_OVER_A * DENSITY * (length / 10.0) / beta2
    probable = xi * (np.log(2 * ELECTRON_MASS * xi / PLASMA**2) + LANDAU_J)
    moyal = -np.log(np.maximum(rng.standard_normal(len(length)) ** 2, 1e-30))
    return np.maximum(probable + xi * moyal, 0.1 * probable)
