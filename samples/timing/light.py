"""Optical photons of a track in a bar: how many reach a sensor, when, in which direction."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from samples.timing.bar import LIGHT_SPEED, Bar, photon_yield
from samples.timing.muons import MUON_MASS, Crossings

__all__ = ["Photons", "shine"]

NODES = 33
"""Points of a track between which its light is interpolated; chosen."""
ENDS = (-1, 1)
"""Direction along z to sensor 1, to sensor 2."""


class Photons(NamedTuple):
    """Photons that a sensor detects, ``(n,)``, in order of crossing and sensor.

    Attributes:
        crossing: Row in :class:`samples.timing.muons.Crossings`.
        sensor: 1 at the low end, 2 at the high end.
        time: At the sensor, ns after the gun fired.
        along: Where on the track it was made, mm behind the entrance.
        direction: Unit vector at its origin, ``(n, 3)``.
    """

    crossing: np.ndarray
    sensor: np.ndarray
    time: np.ndarray
    along: np.ndarray
    direction: np.ndarray


def shine(tracks: Crossings, theta: np.ndarray, bar: Bar, rng: np.random.Generator) -> Photons:
    """Photons of every track at both sensors; their number fluctuates like Poisson's.

    Arguments:
        tracks: Muons in bars.
        theta: Their polar angles in rad, ``(m,)``.
    """
    both = [_at_end(tracks, theta, bar, number, rng) for number in range(len(ENDS))]
    joined = Photons(*(np.concatenate(columns) for columns in zip(*both, strict=True)))
    order = np.argsort(2 * joined.crossing + joined.sensor, kind="stable")
    return Photons(*(column[order] for column in joined))


def _at_end(
    tracks: Crossings, theta: np.ndarray, bar: Bar, end: int, rng: np.random.Generator
) -> Photons:
    place = bar.high if ENDS[end] > 0 else bar.low
    share = np.linspace(0.0, 1.0, NODES)
    z = tracks.z[:, None] + tracks.length[:, None] * np.cos(theta)[:, None] * share
    seen = photon_yield(tracks.energy[:, None], np.maximum(np.abs(place - z), 0.0))
    parts = 0.5 * (seen[:, 1:] + seen[:, :-1]) / (NODES - 1)
    numbers = rng.poisson(parts.sum(axis=1))
    crossing = np.repeat(np.arange(len(numbers)), numbers)
    along = _origins(parts, crossing, rng) * tracks.length[crossing]
    distance = np.abs(place - tracks.z[crossing] - along * np.cos(theta)[crossing])
    path, direction = _transport(np.maximum(distance, 0.01), bar, rng)
    direction[:, 2] *= ENDS[end]
    momentum = tracks.momentum[crossing]
    beta = momentum / np.hypot(momentum, MUON_MASS)
    decay = rng.exponential(bar.light.decay_time, len(crossing))
    time = tracks.time[crossing] + along / (LIGHT_SPEED * beta) + decay + path / bar.light.speed
    return Photons(crossing, np.full(len(crossing), end + 1), time, along, direction)


def _origins(parts: np.ndarray, crossing: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where photons are made, as shares of their tracks, ``(n,)``; ``parts`` (m, NODES − 1)."""
    sums = np.cumsum(parts, axis=1)
    total = np.maximum(sums[:, -1:], 1e-300)
    edges = (sums / total + np.arange(len(parts))[:, None]).ravel()
    wanted = rng.random(len(crossing))
    node = np.searchsorted(edges, wanted + crossing, side="right") - crossing * (NODES - 1)
    node = np.clip(node, 0, NODES - 2)
    return (node + rng.random(len(crossing))) / (NODES - 1)


def _transport(
    distance: np.ndarray, bar: Bar, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Paths in mm and directions ``(n, 3)`` of photons that arrive, with z towards the sensor.

    Isotropic light, kept where total reflection keeps it in the bar, and with the probability that
    absorption, the bounces at the sides and the one at the far end leave.
    """
    light = bar.light
    path, direction = np.empty(len(distance)), np.empty((len(distance), 3))
    waiting = np.arange(len(distance))
    while len(waiting):
        near = distance[waiting]
        far = 2.0 * bar.length - near
        back = light.end_reflectivity * np.exp((near - far) / light.attenuation)
        reflected = rng.random(len(near)) * (1.0 + back) < back
        straight = np.where(reflected, far, near)
        forward, turn = 1.0 - rng.random(len(near)), 2.0 * np.pi * rng.random(len(near))
        across = np.sqrt(1.0 - forward**2)
        x, y = across * np.cos(turn), across * np.sin(turn)
        travelled = straight / forward
        bounces = travelled * (np.abs(x) / bar.thickness + np.abs(y) / bar.width)
        survival = np.exp((straight - travelled) / light.attenuation)
        survival *= light.side_reflectivity**bounces
        kept = (np.abs(x) < light.trapped) & (np.abs(y) < light.trapped)
        kept &= rng.random(len(near)) < survival
        rows = waiting[kept]
        path[rows] = travelled[kept]
        sign = np.where(reflected[kept], -1.0, 1.0)
        direction[rows] = np.stack([x[kept], y[kept], sign * forward[kept]], axis=1)
        waiting = waiting[~kept]
    return path, direction
