"""A model of photon times held against photons of full simulation, muon by muon."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from flows.noise import Identity
from processors.distances import from_arrays
from processors.timing.conditions import conditions
from processors.timing.tables import PhotonTable

__all__ = ["Agreement", "agreement", "carried"]

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
        w1_relative: The same over the width of the simulated distribution.
        w1_floor: Expected of two samples of these sizes from one distribution, likewise relative.
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
    w1_relative: float
    w1_floor: float
    ks_per_muon: float | None
    outside: int


def carried(table: PhotonTable, before: float, after: float) -> PhotonTable:
    """Photons with z carried along the muon from one lever arm to another, mm."""
    theta = np.radians(table.theta.astype(np.float64))
    z = table.z + (after - before) / np.tan(theta)
    return table._replace(z=z.astype(table.z.dtype))


def agreement(model: Any, photons: PhotonTable, lever_arm: float, seed: int = 1) -> list[Agreement]:
    """Draw photons of the same muons, compare: all muons, then those away from the bar.

    Arguments:
        model: Resident model of photon times, its card with the lever arm of its z.
        photons: Of muons; each row is compared on its own.
        lever_arm: mm between the vertex and the point whose z the photons have.
        seed: Of the noise.
    """
    photons = photons.take(photons.kept > 0)
    definitions = model.card.spec["definitions"]
    context = carried(photons, lever_arm, definitions["lever_arm_mm"]).contexts
    given = conditions(context, model.card.layout.condition_names, definitions)
    counts = photons.kept
    muons = photons.contexts
    row, zero = np.arange(len(muons)), np.zeros(len(muons), dtype=np.int64)
    identity = Identity(seed, "agreement", "PhotonTime", zero, zero, row, zero, zero)
    drawn = model.sample_repeated(given, DRAWS * counts, identity)
    starts = np.cumsum(DRAWS * counts)[:-1]
    mine = np.split(drawn.targets.astype(np.float64), starts)
    theirs = np.split(photons.time.astype(np.float64), np.cumsum(counts)[:-1])
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
        whole.w1,
        whole.w1_floor,
        float(np.median(ratios)) if ratios else None,
        0,
    )
