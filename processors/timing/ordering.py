"""Photons of sensors in order of time, by compiled loops.

The photons of a sensor are few enough for the first cache, and spread out evenly enough to be
dealt into as many slots as there are photons; what remains is sorted by insertion. Where they are
not, a general sort takes over.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from flows.warm import compiled_first
from processors.compiled import compiled
from processors.jagged import counts_to_offsets

__all__ = ["InTime", "compile_kernels", "earliest_two", "in_time"]

CROWDED = 64
"""Photons in one slot from which the general sort is used; chosen, of no effect on the result."""
HALF = 32
"""Bits of a key that the time has; the other half says whose it is."""
SIGN, POSITIVE = HALF - 1, 2**31 - 1


@compiled
def _deal(times: Any, keys: Any, count: int, ends: Any, dealt: Any) -> Any:
    """Write the first ``count`` keys in about the order of their times.

    Returns: False if many fell into one slot.
    """
    low, high = np.float64(times[0]), np.float64(times[0])
    for j in range(count):
        low, high = min(low, np.float64(times[j])), max(high, np.float64(times[j]))
        ends[j] = 0
    per = (count - 1) / (high - low) if high > low else 0.0
    fullest = 0
    for j in range(count):
        # a slot out of range is that of a time that is no number
        slot = min(max(int((times[j] - low) * per), 0), count - 1)
        ends[slot] += 1
        fullest = max(fullest, ends[slot])
    if fullest > CROWDED:
        return False
    before = 0
    for slot in range(count):
        before, ends[slot] = before + ends[slot], before
    for j in range(count):
        slot = min(max(int((times[j] - low) * per), 0), count - 1)
        dealt[ends[slot]] = keys[j]
        ends[slot] += 1
    return True


@compiled
def _sort(times: Any, keys: Any, count: int, ends: Any, dealt: Any) -> None:
    """Write the first ``count`` keys, which rise with the times, in order into ``dealt``."""
    if not _deal(times, keys, count, ends, dealt):
        for j in range(count):
            dealt[j] = keys[j]
        dealt[:count].sort()
        return
    for j in range(1, count):
        key, place = dealt[j], j
        while place > 0 and dealt[place - 1] > key:
            dealt[place] = dealt[place - 1]
            place -= 1
        dealt[place] = key


@compiled
def fill_in_time(
    delays: Any, offsets: Any, firsts: Any, entered: Any, bits: Any, hits: Any
) -> None:
    """Join the photons of all hits of a bar at each end, in order of time, equal ones of hit.

    Arguments:
        delays: float32 ``(N,)``, low and high end of every hit one after the other.
        offsets: Of these rows, ``(2 n + 1,)``.
        firsts: First hit of each bar, and n, ``(m + 1,)``.
        entered: Time of each hit, ``(n,)`` float64.
        bits: Of the float32 times of the photons, ``(N,)`` int32, written.
        hits: Hit of each photon, ``(N,)`` int32, written.
    """
    most = 1
    for bar in range(firsts.shape[0] - 1):
        most = max(most, offsets[2 * firsts[bar + 1]] - offsets[2 * firsts[bar]])
    moments, keys = np.empty(most, np.float32), np.empty(most, np.int64)
    ends, dealt = np.empty(most, np.int64), np.empty(most, np.int64)
    pattern, place = moments.view(np.int32), 0
    for bar in range(firsts.shape[0] - 1):
        for end in range(2):
            count = 0
            for hit in range(firsts[bar], firsts[bar + 1]):
                for photon in range(offsets[2 * hit + end], offsets[2 * hit + end + 1]):
                    # minus zero becomes zero
                    moments[count] = np.float32(entered[hit] + delays[photon]) + np.float32(0)
                    turned = pattern[count] ^ ((pattern[count] >> SIGN) & np.int32(POSITIVE))
                    keys[count] = (np.int64(turned) << HALF) | np.int64(hit)
                    count += 1
            if count:
                _sort(moments, keys, count, ends, dealt)
            for j in range(count):
                turned = np.int32(dealt[j] >> HALF)
                bits[place + j] = turned ^ ((turned >> SIGN) & np.int32(POSITIVE))
                hits[place + j] = np.int32(dealt[j] & np.int64(POSITIVE))
            place += count


@compiled
def fill_earliest(times: Any, offsets: Any, found: Any) -> None:
    """Write the two lowest times of every row, ``found`` ``(2, n)``; infinite where there is none.

    Arguments:
        times: ``(N,)`` float32.
        offsets: ``(n + 1,)``.
        found: float32.
    """
    for row in range(found.shape[1]):
        first = second = np.float32(np.inf)
        for j in range(offsets[row], offsets[row + 1]):
            time = times[j]
            if time < second:
                second = max(time, first)
                first = min(time, first)
        found[0, row], found[1, row] = first, second


class InTime(NamedTuple):
    """Photons in order of bar, end, time, ``(N,)``.

    Attributes:
        times: ns, float32.
        hits: Hit of each, int32.
    """

    times: np.ndarray
    hits: np.ndarray


def in_time(
    delays: np.ndarray, counts: np.ndarray, firsts: np.ndarray, entered: np.ndarray
) -> InTime:
    """Photons of the sensors of bars.

    Arguments:
        delays: Times after the hit, those of a hit at an end next to each other, float32.
        counts: Photons of every hit at the low and at the high end, ``(n, 2)``.
        firsts: First hit of each bar, ``(m,)``; its hits lie next to each other.
        entered: Time of each hit, ``(n,)``.

    Example:
        >>> delays = np.array([3, 1, 2, 5], dtype=np.float32)
        >>> found = in_time(delays, np.array([[2, 0], [1, 1]]), np.array([0]), np.array([0.0, 0.5]))
        >>> found.times.tolist(), found.hits.tolist()
        ([1.0, 2.5, 3.0, 5.5], [0, 1, 0, 1])
    """
    times, hits = np.empty(len(delays), np.float32), np.empty(len(delays), np.int32)
    fill_in_time(
        np.ascontiguousarray(delays, dtype=np.float32),
        counts_to_offsets(counts.ravel()),
        np.append(firsts, len(entered)).astype(np.int64),
        np.ascontiguousarray(entered, dtype=np.float64),
        times.view(np.int32),
        hits,
    )
    return InTime(times, hits)


def earliest_two(times: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The first and the second time of every row, infinite where there are fewer, ``(2, n)``.

    Arguments:
        times: float32, those of a row next to each other, in any order.
        counts: Of each row, ``(n,)``.

    Example:
        >>> earliest_two(np.array([3, 1, 2, 5], dtype=np.float32), np.array([3, 0, 1])).tolist()
        [[1.0, inf, 5.0], [2.0, inf, inf]]
    """
    found = np.empty((2, len(counts)), dtype=np.float32)
    fill_earliest(np.ascontiguousarray(times, dtype=np.float32), counts_to_offsets(counts), found)
    return found


def compile_kernels() -> None:
    """Compile the loops before threads ask for them."""
    nothing = np.zeros(0, dtype=np.float32)
    compiled_first(in_time, nothing, np.zeros((0, 2), dtype=np.int64), nothing, nothing)
    compiled_first(earliest_two, nothing, np.zeros(0, dtype=np.int64))
