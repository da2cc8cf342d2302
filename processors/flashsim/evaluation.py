"""Judging a model of an object on training-table rows that it never saw."""

from __future__ import annotations

from typing import Any

import numpy as np

from flows.bundle import Bundle
from flows.noise import Identity
from flows.resident import resident
from flows.training import TrainingTable
from processors.classifier import separation
from processors.distances import from_arrays

__all__ = ["CLASSIFIER_ROWS", "evaluate", "hold_out"]

CLASSIFIER_ROWS = 50_000
"""Most rows of each kind that the classifier sees; chosen to end within a minute."""
DATASET = "held-out"
"""Dataset name of the noise: unlike that of any fileset."""


def hold_out(table: TrainingTable, share: float, seed: int) -> tuple[TrainingTable, TrainingTable]:
    """Split off ``share`` of the groups, so that no event is on both sides.

    Arguments:
        table: Rows to split.
        share: Part of the groups in the second table, in (0, 1).
        seed: Which groups.
    """
    groups = np.arange(len(table.conditions)) if table.groups is None else table.groups
    names, inverse = np.unique(groups, return_inverse=True)
    chosen = np.random.default_rng(seed).random(len(names)) < share
    second = chosen[inverse]
    return _rows(table, ~second), _rows(table, second)


def _rows(table: TrainingTable, keep: np.ndarray) -> TrainingTable:
    partners = keep[table.reconstructed]
    return TrainingTable(
        conditions=table.conditions[keep],
        reconstructed=table.reconstructed[keep],
        targets=table.targets[partners],
        categories=table.categories[partners],
        groups=None if table.groups is None else table.groups[keep],
        pileup=table.pileup,
    )


def evaluate(bundle: Bundle, table: TrainingTable, seed: int) -> dict[str, Any]:
    """Compare simulated with true rows of objects that are reconstructed in both.

    Arguments:
        bundle: The model.
        table: Rows that training did not see.
        seed: Seed of the simulation and of the classifier's split.
    Returns: ``closure`` (per target and category, distances with their noise floors), ``auc`` of
    the classifier of :mod:`processors.classifier` given conditions, targets and categories,
    ``auc_error``, ``held_out`` and ``held_out_reconstructed`` rows, and ``efficiency_true`` and
    ``efficiency_simulated``.
    """
    model = resident(bundle, device="cpu")
    simulated = model.simulate(table.conditions, _identity(table, bundle, seed))
    both = table.reconstructed & simulated.kept
    in_truth, in_flash = both[table.reconstructed], both[simulated.kept]
    truth = np.hstack([table.targets[in_truth], table.categories[in_truth]])
    flash = np.hstack([simulated.targets[in_flash], simulated.categories[in_flash]])
    conditions = table.conditions[both]
    names = (*bundle.card.layout.target_names, *bundle.card.layout.category_names)
    rows = slice(CLASSIFIER_ROWS)
    told_apart = separation(
        np.hstack([conditions, truth])[rows], np.hstack([conditions, flash])[rows], seed=seed
    )
    return {
        "closure": [
            {"variable": name, **from_arrays(truth[:, i], flash[:, i])._asdict()}
            for i, name in enumerate(names)
        ],
        "auc": told_apart.auc,
        "auc_error": told_apart.error,
        "held_out": len(table.conditions),
        "held_out_reconstructed": int(both.sum()),
        "efficiency_true": float(table.reconstructed.mean()),
        "efficiency_simulated": float(simulated.kept.mean()),
    }


def _identity(table: TrainingTable, bundle: Bundle, seed: int) -> Identity:
    rows = len(table.conditions)
    one = np.ones(rows, dtype=np.int64)
    return Identity(
        seed=seed,
        dataset=DATASET,
        collection=bundle.card.layout.collection,
        run=one,
        luminosity_block=one,
        event=np.arange(rows, dtype=np.int64),
        index=0 * one,
        fold=0 * one,
    )
