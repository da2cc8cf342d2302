"""Event quantities of validation plots: multiplicities, sums of momenta, pair masses."""

from __future__ import annotations

import numpy as np

from processors.jagged import Flat, counts_to_offsets

__all__ = ["event_quantities", "pair_mass"]

JET_PT, JET_ETA, CENTRAL_ETA = 30.0, 4.7, 2.4
MUON_PT = 10.0
"""Selections of counted objects, GeV (chosen: what an analysis would start from)."""
MOMENTUM = ("pt", "eta", "phi", "mass")


def event_quantities(muons: Flat, jets: Flat) -> dict[str, np.ndarray]:
    """Quantities per event, ``(n_events,)`` each; pair masses are NaN without a pair.

    Arguments:
        muons: ``pt``, ``eta``, ``phi``, ``charge``, falling pt in each event.
        jets: ``pt``, ``eta``, ``phi``, ``mass``, falling pt in each event.
    """
    hard = jets.select((jets["pt"] > JET_PT) & (np.abs(jets["eta"]) < JET_ETA), MOMENTUM)
    central = np.abs(hard["eta"]) < CENTRAL_ETA
    good = muons.select(muons["pt"] > MUON_PT, ("pt", "eta", "phi", "charge"))
    massless = Flat(good.counts, {**good.columns, "mass": np.zeros(len(good), np.float32)})
    mass, (first, second) = pair_mass(massless)
    pair = first >= 0
    opposite = np.zeros(len(mass), dtype=bool)
    opposite[pair] = good["charge"][first[pair]] != good["charge"][second[pair]]
    return {
        "nJet": hard.counts.astype(np.float64),
        "nMuon": good.counts.astype(np.float64),
        "ht": np.bincount(
            hard.event[central],
            hard["pt"][central].astype(np.float64),
            minlength=len(hard.counts),
        ),
        "mjj": pair_mass(hard)[0],
        "mmumu": np.where(opposite, mass, np.nan),
    }


def pair_mass(objects: Flat) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Invariant mass of the first two objects of each event, with their flat positions.

    Shapes: all ``(n_events,)``; NaN mass, position -1 where an event has fewer than two.
    """
    start = counts_to_offsets(objects.counts)[:-1]
    has = objects.counts >= 2
    first, second = np.where(has, start, -1), np.where(has, start + 1, -1)
    total = np.zeros((4, int(has.sum())))
    for rows in (first[has], second[has]):
        total += _four_momentum(objects, rows)
    mass = np.full(len(has), np.nan)
    mass[has] = np.sqrt(np.maximum(total[0] ** 2 - (total[1:] ** 2).sum(axis=0), 0.0))
    return mass, (first, second)


def _four_momentum(objects: Flat, rows: np.ndarray) -> np.ndarray:
    pt, eta, phi, mass = (objects[name][rows].astype(np.float64) for name in MOMENTUM)
    momentum = pt * np.cosh(eta)
    energy = np.sqrt(momentum**2 + mass**2)
    return np.stack([energy, pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
