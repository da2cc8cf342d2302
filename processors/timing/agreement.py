"""A model of photon times held against photons of full simulation, muon by muon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from flows.noise import Identity
from processors.distances import from_arrays

__all__ = ["Agreement", "agreement"]

DRAWS = 10
"""Photons drawn for each one of the simulation: their own fluctuation adds 5 % to the noise."""
LEAST_PHOTONS = 20
"""Of a muon that is compared on its own; chosen."""
GRAZING = 20.0
"""Degrees from the bar below which a muon's z depends on the lever arm; RowanKell/work_eic."""


class Agreement(NamedTuple):
    """Distance of drawn from simulated photons.

    Attributes:
        what: Which muons.
        photons: Of the simulation.
        muons: That made them.
        ks: Largest difference of the cumulative distributions of all photons together.
        ks_floor: Expected of two samples of these sizes from one distribution.
        w1: 1-Wasserstein distance of all photons together, ns.
        ks_per_muon: Median over the muons with at least 20 photons of KS over its expectation; 1
            is perfect. None where there is no such muon.
        outside: Muons outside the model's training ranges.
    """

    what: str
    photons: int
    muons: int
    ks: float
    ks_floor: float
    w1: float
    ks_per_muon: float | None
    outside: int


def agreement(
    model: Any, photons: Mapping[str, np.ndarray], lever_arm: float, seed: int = 1
) -> list[Agreement]:
    """Draw photons of the same muons, compare: all muons, then those away from the bar.

    Arguments:
        model: Resident model of photon times, its card with the lever arm of its z.
        photons: Columns ``z``, ``theta``, ``p``, ``time`` of photons at the sensor at high z.
        lever_arm: mm between the vertex and the point whose z the photons have.
        seed: Of the noise.
    """
    shift = model.card.spec["definitions"]["lever_arm_mm"] - lever_arm
    muons, owner, counts = np.unique(
        np.stack([photons[name] for name in ("z", "theta", "p")], axis=1),
        axis=0,
        return_inverse=True,
        return_counts=True,
    )
    owner = owner.ravel()
    contexts = muons.copy()
    contexts[:, 0] += shift / np.tan(np.radians(muons[:, 1]))
    row, zero = np.arange(len(muons)), np.zeros(len(muons), dtype=np.int64)
    identity = Identity(seed, "agreement", "PhotonTime", zero, zero, row, zero, zero)
    drawn = model.sample_repeated(contexts, DRAWS * counts, identity)
    starts = np.cumsum(DRAWS * counts)[:-1]
    mine = np.split(drawn.targets.astype(np.float64), starts)
    order = np.argsort(owner, kind="stable")
    theirs = np.split(photons["time"][order], np.cumsum(counts)[:-1])
    away = (muons[:, 1] > GRAZING) & (muons[:, 1] < 180.0 - GRAZING)
    choices = {"all muons": np.ones(len(muons), dtype=bool), "theta above 20 degrees": away}
    return [
        _compare(what, [pair for pair, kept in zip(zip(theirs, mine), chosen) if kept])._replace(
            outside=int(drawn.outside[chosen].sum())
        )
        for what, chosen in choices.items()
        if chosen.any()
    ]


def _compare(what: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> Agreement:
    full, flash = (np.concatenate(side) for side in zip(*pairs, strict=True))
    whole = from_arrays(full, flash)
    found = [from_arrays(*pair) for pair in pairs if len(pair[0]) >= LEAST_PHOTONS]
    ratios = [one.ks / one.ks_floor for one in found]
    return Agreement(
        what,
        len(full),
        len(pairs),
        whole.ks,
        whole.ks_floor,
        float(whole.w1 * full.std()),
        float(np.median(ratios)) if ratios else None,
        0,
    )
