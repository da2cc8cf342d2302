"""Samples that travel in a bundle: who loads it can see whether the model still gives them.

Digest and shapes cannot tell that code which builds a network from its weights has changed its
meaning; recomputed samples can.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flows.bundle import Bundle
from flows.resident import resident

__all__ = ["ROWS", "Comparison", "compare", "weights", "with_reference"]

PREFIX = "reference."
CONDITIONS = f"{PREFIX}conditions"
ROWS = 64
"""Rows kept in a bundle: 20 kB (chosen)."""
RELATIVE, OF_SPREAD = 1e-3, 1e-3
"""Tolerance as a share of the value, of the column's spread: float32 through another processor's
exp and log stays a hundred times below, another network is off by the whole spread."""
ALLOWED_ROWS = 1
"""Rows that may differ: one uniform in 10^5 lies within rounding of a category's edge."""


class Comparison(NamedTuple):
    """Stored samples against recomputed ones.

    Attributes:
        rows: How many are stored; 0 for a bundle without.
        differing: Rows in which a discrete value differs, or a number by more than rounding.
    """

    rows: int
    differing: int

    @property
    def fine(self) -> bool:
        """Tell whether the model still is what it was."""
        return self.differing <= ALLOWED_ROWS


def weights(bundle: Bundle) -> dict[str, Tensor]:
    """Tensors of the model alone."""
    return {n: t for n, t in bundle.tensors.items() if not n.startswith(PREFIX)}


def with_reference(bundle: Bundle, conditions: NDArray[np.float32]) -> Bundle:
    """Add samples of the model at the first rows of ``conditions`` ``(n, C)``."""
    rows = np.ascontiguousarray(conditions[:ROWS], dtype=np.float32)
    bare = dataclasses.replace(bundle, tensors=weights(bundle))
    samples = resident(bare, "cpu").reference(rows) | {"conditions": rows}
    stored = {PREFIX + n: torch.from_numpy(np.ascontiguousarray(v)) for n, v in samples.items()}
    return dataclasses.replace(bare, tensors=weights(bare) | stored)


def compare(bundle: Bundle, device: str = "cpu") -> Comparison:
    """Sample again what the bundle stores.

    Raises: BundleError if the model cannot be built.
    """
    model = resident(bundle, device)
    if CONDITIONS not in bundle.tensors:
        return Comparison(0, 0)
    conditions = bundle.tensors[CONDITIONS].numpy()
    differs = np.zeros(len(conditions), dtype=bool)
    for name, found in model.reference(conditions).items():
        stored = bundle.tensors[PREFIX + name].numpy()
        differs |= ~_same(found, stored).reshape(len(conditions), -1).all(1)
    return Comparison(len(conditions), int(differs.sum()))


def _same(found: NDArray[np.generic], stored: NDArray[np.generic]) -> NDArray[np.bool_]:
    if not np.issubdtype(stored.dtype, np.floating):
        same: NDArray[np.bool_] = found == stored
        return same
    values = np.asarray(stored, dtype=np.float64)
    finite = np.where(np.isfinite(values), values, 0.0)
    spread = finite.std(0, keepdims=True)
    near = np.abs(np.asarray(found, np.float64) - values) <= RELATIVE * np.abs(values) + (
        OF_SPREAD * spread
    )
    result: NDArray[np.bool_] = near | (np.isnan(found) & np.isnan(stored))
    return result
