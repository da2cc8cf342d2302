"""Constants of a scintillator bar with a light sensor at each end."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Bar", "Scintillator", "photon_yield"]

LIGHT_SPEED = 299.792458
"""mm/ns."""
PHOTONS_PER_KEV = 10.0
"""Photons of the scintillator per keV; RowanKell/work_eic, process_root_file.py."""
QUANTUM_EFFICIENCY = 0.5
"""Of the sensor; RowanKell/work_eic."""
COLLECTION = (494.98, 9.9733, 0.16796)
"""Per cent of the photons that reach a sensor at distance d mm: a / (d + b) − c; the same source,
fitted there to optical simulation."""


@dataclass(frozen=True)
class Scintillator:
    """Light of a bar.

    Attributes:
        decay_time: ns; RowanKell/work_eic has 1.8 (June 2025), 2.4 before.
        index: Of refraction, polystyrene and polyvinyl toluene: c/n is 190 mm/ns.
        attenuation: Length in mm along the photon's path. Chosen, with the two reflectivities: the
            1 % to 99 % quantiles of the times of 29,486 photons of full simulation, 1.5 m away,
            agree within 8 % (``tests/samples/test_timing.py``).
        side_reflectivity: Of a side face at total reflection; chosen.
        end_reflectivity: Of the end face around a sensor; chosen.
    """

    decay_time: float = 1.8
    index: float = 1.58
    attenuation: float = 2000.0
    side_reflectivity: float = 0.999
    end_reflectivity: float = 0.1

    def __post_init__(self) -> None:
        for name in ("decay_time", "attenuation"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                message = f"{name} is {value}; it must be a finite number above 0"
                raise ValueError(message)

    @property
    def speed(self) -> float:
        """Of light along its own direction, mm/ns."""
        return LIGHT_SPEED / self.index

    @property
    def trapped(self) -> float:
        """Largest cosine of a photon to the normal of a side face that it does not leave by."""
        return math.sqrt(1.0 - 1.0 / self.index**2)


@dataclass(frozen=True)
class Bar:
    """Bars of one stave: along z, entered along x, one behind the other.

    Attributes:
        low: End with sensor 1, mm; RowanKell/work_eic.
        high: End with sensor 2, mm; RowanKell/work_eic.
        entrance: x where a muon enters the first bar, mm; RowanKell/work_eic.
        thickness: Along x, mm; 10 in 2024, 20 and 55.5 later.
        width: Along y, mm; chosen.
        pitch: From bar to bar along x, mm: that of the super-layers, the same source.
        layers: Number of bars.
        steel: Energy that a muon loses between two bars at normal incidence, GeV: 55.5 mm of iron
            at 11.4 MeV/cm (PDG, atomic and nuclear properties).
        light: What the bar is made of.
    """

    low: float = -735.0
    high: float = 770.0
    entrance: float = 1770.3
    thickness: float = 10.0
    width: float = 30.0
    pitch: float = 76.7
    layers: int = 1
    steel: float = 0.0633
    light: Scintillator = field(default_factory=Scintillator)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.thickness) and 0 < self.thickness < self.pitch):
            message = f"thickness is {self.thickness}; it must be above 0, below {self.pitch} mm"
            raise ValueError(message)
        if not 1 <= self.layers <= 28:
            message = f"layers is {self.layers}; the detector has 1 to 28"
            raise ValueError(message)

    @property
    def length(self) -> float:
        """mm."""
        return self.high - self.low


def photon_yield(energy: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Mean number of photons that a sensor sees.

    Arguments:
        energy: Deposited, GeV.
        distance: From the deposit to the sensor, mm, at least 0.

    Example:
        >>> float(photon_yield(np.array(0.002), np.array(770.0)).round(1))
        46.7
    """
    a, b, c = COLLECTION
    share = QUANTUM_EFFICIENCY * (a / (distance + b) - c) / 100.0
    return PHOTONS_PER_KEV * 1e6 * energy * np.maximum(share, 0.0)
