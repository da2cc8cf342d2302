"""Compiled Philox 4x32-10 and what is made of its words, one row after the other."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

__all__ = [
    "MULTIPLIERS",
    "ROUNDS",
    "WEYL",
    "fill_normals",
    "fill_pairs",
    "fill_uniforms",
    "fill_words",
    "quartet",
    "settle_normals",
]

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
_FIRST, _SECOND = map(np.uint64, MULTIPLIERS)
_WEYL_FIRST, _WEYL_SECOND = map(np.uint64, WEYL)
_MASK, _HALF, _SHIFT16 = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(16)
QUARTER = 1 << 30
"""A quarter turn in units of the random word."""
_TWO_TO_MINUS_32, _RADIANS = 2.0**-32, math.pi * 2.0**-31
_SQRT_HALF_BITS, _MANTISSA = np.int64(0x3FE6A09E667F3BCD), np.int64(52)
_LN2 = math.log(2.0)
_L = tuple(2.0 / (2 * n + 1) for n in range(10))
_S = tuple((-1.0) ** n / math.factorial(2 * n + 1) for n in range(8))
_C = tuple((-1.0) ** n / math.factorial(2 * n) for n in range(9))


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


@numba.njit(nogil=True, error_model="numpy", inline="always")  # type: ignore[untyped-decorator]
def fill_pairs(
    key: Any, counter: Any, first: int, blocks: int, attempt: int, u: Any, v: Any
) -> None:
    """Words of one row from block ``first`` on: ``u`` and ``v`` of two pairs per block."""
    last = (np.uint64(attempt) & np.uint64(0xFFFF)) << _SHIFT16
    key0, key1 = np.uint64(key[0]) & _MASK, np.uint64(key[1]) & _MASK
    event0, event1 = np.uint64(counter[0]) & _MASK, np.uint64(counter[1]) & _MASK
    place = np.uint64(counter[2]) & _MASK
    for b in range(blocks):
        c3 = last | (np.uint64(first + b) & np.uint64(0xFFFF))
        four = quartet(event0, event1, place, c3, key0, key1)
        u[2 * b], v[2 * b] = np.int64(four[0]), np.int64(four[1])
        u[2 * b + 1], v[2 * b + 1] = np.int64(four[2]), np.int64(four[3])


@numba.njit(nogil=True, error_model="numpy", inline="always")  # type: ignore[untyped-decorator]
def settle_normals(u: Any, v: Any, pairs: int, space: Any, bits: Any, z: Any) -> None:
    """Normals ``z`` ``(2 · pairs,)`` by Box and Muller, rounded to float32.

    The polynomials stay within 1e-14 of logarithm, sine and cosine, so the normals are those of
    :func:`flows.noise.normals_from_words` but for ties. ``u`` is written over; ``bits`` are those
    of ``space`` ``(pairs,)``.
    """
    for p in range(pairs):
        space[p] = (np.float64(u[p]) + 0.5) * _TWO_TO_MINUS_32
    for p in range(pairs):
        exponent = (bits[p] - _SQRT_HALF_BITS) >> _MANTISSA
        bits[p] -= exponent << _MANTISSA
        u[p] = exponent
    for p in range(pairs):
        f = space[p] - 1.0
        s = f / (2.0 + f)
        t = s * s
        log = _L[9]
        log = log * t + _L[8]
        log = log * t + _L[7]
        log = log * t + _L[6]
        log = log * t + _L[5]
        log = log * t + _L[4]
        log = log * t + _L[3]
        log = log * t + _L[2]
        log = log * t + _L[1]
        log = log * t + _L[0]
        radius = math.sqrt(-2.0 * (np.float64(u[p]) * _LN2 + log * s))
        quarter = (v[p] + np.int64(QUARTER // 2)) >> np.int64(30)
        r = (np.float64(v[p] - (quarter << np.int64(30))) + 0.5) * _RADIANS
        t = r * r
        sine = _S[7]
        sine = sine * t + _S[6]
        sine = sine * t + _S[5]
        sine = sine * t + _S[4]
        sine = sine * t + _S[3]
        sine = sine * t + _S[2]
        sine = sine * t + _S[1]
        sine = (sine * t + _S[0]) * r
        cosine = _C[8]
        cosine = cosine * t + _C[7]
        cosine = cosine * t + _C[6]
        cosine = cosine * t + _C[5]
        cosine = cosine * t + _C[4]
        cosine = cosine * t + _C[3]
        cosine = cosine * t + _C[2]
        cosine = cosine * t + _C[1]
        cosine = cosine * t + _C[0]
        odd = (quarter & np.int64(1)) == 1
        along = sine if odd else cosine
        across = cosine if odd else sine
        along = -along if ((quarter + np.int64(1)) & np.int64(2)) == 2 else along
        across = -across if (quarter & np.int64(2)) == 2 else across
        z[2 * p] = np.float64(np.float32(radius * along))
        z[2 * p + 1] = np.float64(np.float32(radius * across))


@numba.njit(nogil=True, error_model="numpy", cache=True)  # type: ignore[untyped-decorator]
def fill_normals(keys: Any, counters: Any, attempt: Any, normals: Any) -> None:
    """Fill float32 ``normals`` ``(n, dims)``; the arguments are those of `flows.noise.words`."""
    rows, dims = normals.shape
    blocks = (dims + 3) // 4
    u, v = np.empty(2 * blocks, np.int64), np.empty(2 * blocks, np.int64)
    space, z = np.empty(2 * blocks), np.empty(4 * blocks)
    bits = space.view(np.int64)
    for i in range(rows):
        fill_pairs(keys[i], counters[i], 0, blocks, attempt[i], u, v)
        settle_normals(u, v, 2 * blocks, space, bits, z)
        for d in range(dims):
            normals[i, d] = z[d]


@numba.njit(nogil=True, error_model="numpy", cache=True)  # type: ignore[untyped-decorator]
def fill_uniforms(keys: Any, counters: Any, attempt: Any, uniforms: Any) -> None:
    """Fill float32 ``uniforms`` ``(n, dims)`` from the top 23 bits of each word."""
    rows, dims = uniforms.shape
    blocks = (dims + 3) // 4
    u, v = np.empty(2 * blocks, np.int64), np.empty(2 * blocks, np.int64)
    for i in range(rows):
        fill_pairs(keys[i], counters[i], 0, blocks, attempt[i], u, v)
        for d in range(dims):
            word = v[d // 2] if d % 2 else u[d // 2]
            uniforms[i, d] = (np.float32(word >> 9) + np.float32(0.5)) * np.float32(2.0**-23)
