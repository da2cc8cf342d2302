"""A model of photon times held against photons of full simulation, muon by muon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from flows.engine.context_only import MOST_SAMPLES
from flows.noise import Identity
from processors.distances import from_arrays
from processors.errors import InputError
from processors.timing.conditions import conditions_of
from processors.timing.definitions import carried, refuse_other_bars
from processors.timing.tables import PhotonTable

__all__ = ["Agreement", "agreement"]

DRAWS = 10
"""Photons drawn for each one of the simulation: their own fluctuation adds 5 % to the noise."""
LEAST_PHOTONS = 20
"""Of a muon that is compared on its own; chosen."""
CHANCES = 1000
"""Ratios wanted behind what chance gives: a median of so many is known to 0.01. Where muons are few
each is drawn afresh several times, at most DRAWS times; chosen."""
QUARTILES = 1.349
"""Distance between the quartiles of a normal distribution over its σ."""
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
        ks_per_muon: Median over the muons with at least 20 photons of KS over its expectation. None
            where there is no such muon.
        ks_per_muon_error: Statistical error of this median over the muons; None below two.
        ks_per_muon_chance: What a perfect model would get: the same median with draws of the model
            itself in the place of the photons. Below 1, for a median lies below the mean and few
            photons below the limit of many. Its own fluctuation is that error at most.
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
    ks_per_muon_error: float | None
    ks_per_muon_chance: float | None
    outside: int


def agreement(
    model: Any, photons: PhotonTable, definitions: Mapping[str, Any], seed: int = 1
) -> list[Agreement]:
    """Draw photons of the same muons, compare: all muons, then those away from the bar.

    Arguments:
        model: Resident model of photon times, its card with the lever arm of its z.
        photons: Of muons; each row is compared on its own.
        definitions: Of the photons: lever arm, gap, bar.
        seed: Of the noise.
    Raises: ConfigurationError where the photons are of other bars than the model; InputError
        where there are none, or muons run along the bar.
    """
    refuse_other_bars(definitions, model.card)
    photons = photons.take(photons.kept > 0)
    if not len(photons.kept):
        message = "no photon is left to compare; name photons of other muons, or of all of them"
        raise InputError(message)
    there = carried(photons, definitions, model.card.spec["definitions"])
    given = conditions_of(model.card, there.contexts)
    counts = photons.kept
    muons = photons.contexts
    drawn, outside = _draw(model, given, DRAWS * counts, seed, "agreement")
    theirs, mine = _split(photons.time, counts), _split(drawn, DRAWS * counts)
    sets = min(-(-CHANCES // max(int((counts >= LEAST_PHOTONS).sum()), 1)), DRAWS)
    fresh, _ = _draw(model, given, sets * counts, seed, "chance")
    same = [one.reshape(sets, -1) for one in _split(fresh, sets * counts)]
    away = (muons[:, 1] > GRAZING) & (muons[:, 1] < 180.0 - GRAZING)
    choices = {"all muons": np.ones(len(muons), dtype=bool), "theta above 20 degrees": away}
    return [
        _compare(
            what,
            [_Muon(*one) for one, kept in zip(zip(theirs, mine, same), chosen) if kept],
            int(outside[chosen].sum()),
        )
        for what, chosen in choices.items()
        if chosen.any()
    ]


class _Muon(NamedTuple):
    """Photons of a muon: simulated ``(n,)``, drawn ``(DRAWS n,)``, sets as large ``(s, n)``."""

    full: np.ndarray
    flash: np.ndarray
    fresh: np.ndarray


def _draw(
    model: Any, contexts: np.ndarray, counts: np.ndarray, seed: int, purpose: str
) -> tuple[np.ndarray, np.ndarray]:
    """Photons ``(counts.sum(),)`` of noise that no other purpose has; contexts outside ``(n,)``.

    Photons beyond those that an identity has noise for are drawn from its further folds.
    """
    folds = -(-counts // MOST_SAMPLES)
    row = np.repeat(np.arange(len(contexts)), folds)
    fold = np.arange(len(row)) - np.repeat(np.cumsum(folds) - folds, folds)
    drawn = np.minimum(counts[row] - fold * MOST_SAMPLES, MOST_SAMPLES)
    zero = np.zeros_like(row)
    identity = Identity(seed, purpose, "PhotonTime", zero, zero, row, zero, fold)
    made = model.sample_repeated(contexts[row], drawn, identity)
    return made.targets, made.outside[fold == 0]


def _split(times: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    return np.split(times.astype(np.float64), np.cumsum(counts)[:-1])


def _compare(what: str, muons: list[_Muon], outside: int) -> Agreement:
    full, flash = (np.concatenate([one[side] for one in muons]) for side in (0, 1))
    whole = from_arrays(full, flash)
    enough = [one for one in muons if len(one.full) >= LEAST_PHOTONS]
    ratios = [_ratio(one.full, one.flash) for one in enough]
    chance = [_ratio(times, one.flash) for one in enough for times in one.fresh]
    return Agreement(
        what,
        photons=len(full),
        muons=len(muons),
        ks=whole.ks,
        ks_floor=whole.ks_floor,
        w1=float(whole.w1 * full.std()),
        w1_relative=whole.w1,
        w1_floor=whole.w1_floor,
        ks_per_muon=float(np.median(ratios)) if ratios else None,
        ks_per_muon_error=_median_error(ratios) if len(ratios) > 1 else None,
        ks_per_muon_chance=float(np.median(chance)) if ratios else None,
        outside=outside,
    )


def _ratio(first: np.ndarray, second: np.ndarray) -> float:
    """KS over its expectation."""
    found = from_arrays(first, second)
    return found.ks / found.ks_floor


def _median_error(values: list[float]) -> float:
    """Error of a median, √(π/2) / √N of the width, single outliers left out of it.

    The width is the distance between the quartiles over that of a normal distribution: McGill,
    Tukey, Larsen, *Variations of box plots*, Am. Stat. 32 (1978) 12.
    """
    low, high = np.quantile(values, [0.25, 0.75])
    return float(np.sqrt(np.pi / 2.0 / len(values)) * (high - low) / QUARTILES)
