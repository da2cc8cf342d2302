"""The one classifier with which samples are told apart, so that all figures mean the same."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["SETTINGS", "Separation", "separation"]

SETTINGS = {
    "max_iter": 200,
    "learning_rate": 0.1,
    "max_leaf_nodes": 31,
    "min_samples_leaf": 40,
    "l2_regularization": 1.0,
    "early_stopping": False,
    "random_state": 0,
}
"""Of scikit-learn's ``HistGradientBoostingClassifier``; chosen once, stated with every AUC."""


class Separation(NamedTuple):
    """How well two samples are told apart on rows that the classifier did not see.

    Attributes:
        auc: Area under the ROC curve; 0.5 is indistinguishable.
        error: Its standard error (Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747).
        train_rows: Rows of both samples that the classifier saw.
    """

    auc: float
    error: float
    train_rows: int


def separation(first: np.ndarray, second: np.ndarray, *, seed: int = 7) -> Separation:
    """Train on half of each sample, measure on the other half.

    Samples of equal size are taken as paired: row i of both is on the same side of the split. If
    pairs that share columns were torn apart, the classifier would learn which partner it has seen
    and guess the other, an AUC below one half.

    Arguments:
        first: Rows ``(n, D)``, NaN allowed.
        second: Rows ``(m, D)``.
        seed: Seed of the split.
    Raises: ValueError when either sample has fewer than four rows.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    if min(len(first), len(second)) < 4:
        message = f"samples of {len(first)} and {len(second)} rows cannot be split; give more"
        raise ValueError(message)
    rows = np.concatenate([first, second])
    labels = np.repeat([0, 1], [len(first), len(second)])
    train = _half(len(first), len(second), np.random.default_rng(seed))
    test = ~train
    model = HistGradientBoostingClassifier(**SETTINGS).fit(rows[train], labels[train])
    scores = model.predict_proba(rows[test])[:, 1]
    auc = float(roc_auc_score(labels[test], scores))
    return Separation(auc, _standard_error(auc, labels[test]), int(train.sum()))


def _half(first: int, second: int, rng: np.random.Generator) -> np.ndarray:
    """Mask of the rows to train on, first sample then second."""
    order = [rng.permutation(first) < first // 2]
    order.append(order[0] if first == second else rng.permutation(second) < second // 2)
    return np.concatenate(order)


def _standard_error(auc: float, labels: np.ndarray) -> float:
    positive, negative = int(labels.sum()), int((1 - labels).sum())
    q1, q2 = auc / (2.0 - auc), 2.0 * auc**2 / (1.0 + auc)
    variance = auc * (1.0 - auc) + (positive - 1) * (q1 - auc**2) + (negative - 1) * (q2 - auc**2)
    return float(np.sqrt(max(variance, 0.0) / (positive * negative)))
