"""Compiled Philox 4x32-10 for the processor, one row after the other."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["MULTIPLIERS", "ROUNDS", "WEYL", "fill_words", "quartet"]

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
_FIRST, _SECOND = map(np.uint64, MULTIPLIERS)
_WEYL_FIRST, _WEYL_SECOND = map(np.uint64, WEYL)
_MASK, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@numba.njit(nogil=True, cache=True, inline="always")  # type: ignore[untyped-decorator]
def quartet(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Four words of one counter under one key, all unsigned 64-bit numbers below 2³²."""
    for _ in range(ROUNDS):
        first, second = c0 * _FIRST, c2 * _SECOND
        c0 = (second >> _HALF) ^ c1 ^ k0
        c2 = (first >> _HALF) ^ c3 ^ k1
        c1, c3 = second & _MASK, first & _MASK
        k0, k1 = (k0 + _WEYL_FIRST) & _MASK, (k1 + _WEYL_SECOND) & _MASK
    return c0, c1, c2, c3


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def fill_words(keys: Any, counters: Any, attempt: Any, words: Any) -> None:
    """Fill ``words`` ``(n, dims)``; the arguments are those of :func:`flows.noise.words`."""
    rows, dims = words.shape
    for i in range(rows):
        c0, c1 = np.uint64(counters[i, 0]), np.uint64(counters[i, 1])
        c2, k0, k1 = np.uint64(counters[i, 2]), np.uint64(keys[i, 0]), np.uint64(keys[i, 1])
        turn = np.uint64(attempt[i]) << np.uint64(16)
        for block in range((dims + 3) // 4):
            four = quartet(c0, c1, c2, turn | np.uint64(block), k0, k1)
            for lane in range(min(4, dims - 4 * block)):
                words[i, 4 * block + lane] = four[lane]
