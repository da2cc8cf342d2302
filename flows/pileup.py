"""Joint draws of per-event conditions from a table of real events."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flows.noise import Identity, words

__all__ = ["LARGEST_PROFILE", "PURPOSE", "draw_rows", "thin"]

PURPOSE = "pileup"
LARGEST_PROFILE = 8192
"""Rows kept in a bundle (chosen: 200 kB for six columns, well below any sample's own noise)."""


def thin(table: NDArray[np.float32], rows: int = LARGEST_PROFILE) -> NDArray[np.float32]:
    """Keep at most ``rows`` finite rows of ``(n, P)``, evenly spread over the table."""
    finite = table[np.isfinite(table).all(1)]
    if len(finite) <= rows:
        return np.ascontiguousarray(finite, dtype=np.float32)
    return np.ascontiguousarray(finite[np.arange(rows) * len(finite) // rows], dtype=np.float32)


def draw_rows(table: NDArray[np.float32], identity: Identity) -> NDArray[np.float32]:
    """One row of the table ``(N, P)`` per identity ``(n,)``, all columns together: ``(n, P)``.

    The row is ``word · N >> 32``, in integers: the same on every machine.

    Example:
        >>> table = np.arange(6, dtype=np.float32).reshape(3, 2)
        >>> one = np.arange(100)
        >>> events = Identity(1, "ttbar", "Pileup", one * 0, one * 0, one, one * 0, one * 0)
        >>> sorted({tuple(row) for row in draw_rows(table, events).tolist()})
        [(0.0, 1.0), (2.0, 3.0), (4.0, 5.0)]
    """
    if len(table) == 0:
        msg = "the bundle holds no pile-up profile; train with one, or give the pile-up columns"
        raise ValueError(msg)
    attempt = np.zeros(len(identity), dtype=np.int64)
    word = words(identity.keys(PURPOSE), identity.counters(), 1, attempt)[:, 0]
    rows: NDArray[np.float32] = table[(word * len(table)) >> 32]
    return rows
