"""Photons in order of time: the compiled loops beside numpy's sort by several keys."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from processors.timing import ordering
from processors.timing.ordering import earliest_two, in_time

FINITE = st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False)


def plain(delays, counts, firsts, entered):
    """Times and hits in order of bar, end, time, hit."""
    row = np.repeat(np.arange(counts.size), counts.ravel())
    hit, end = row // 2, row % 2
    times = (entered[hit] + delays).astype(np.float32)
    bar = np.searchsorted(firsts, hit, side="right") - 1
    order = np.lexsort((hit, times, end, bar))
    return times[order], hit[order]


def check(delays, counts, firsts, entered):
    found, (times, hits) = (way(delays, counts, firsts, entered) for way in (in_time, plain))
    assert np.array_equal(found.times, times)
    assert np.array_equal(found.hits, hits)
    assert (found.times.dtype, found.hits.dtype) == (np.float32, np.int32)


@st.composite
def sensors(draw):
    """Hits of a few bars; times that coincide, or lie anywhere."""
    hits = draw(st.integers(1, 6))
    counts = draw(npst.arrays(np.int64, (hits, 2), elements=st.integers(0, 12)))
    few = st.sampled_from([0.0, -0.0, 1.0, -2.5, 3.0e7])
    elements = draw(st.sampled_from([FINITE, few]))
    delays = draw(npst.arrays(np.float32, int(counts.sum()), elements=elements))
    entered = draw(npst.arrays(np.float64, hits, elements=st.sampled_from([0.0, 0.5, 6.0])))
    starts = draw(st.sets(st.integers(1, hits - 1))) if hits > 1 else set()
    return delays, counts, np.array([0, *sorted(starts)]), entered


@settings(deadline=None)  # the first call may compile
@given(sensors())
def test_the_order_is_that_of_bar_end_time_and_hit(case):
    check(*case)


@pytest.mark.parametrize("shape", ["light", "outlier", "steps", "one"])
def test_large_sensors_are_sorted_however_their_times_lie(shape):
    rng = np.random.default_rng(4)
    counts = rng.poisson(700, (30, 2))
    number = int(counts.sum())
    delays = {
        "light": rng.exponential(3.0, number) + rng.normal(5.0, 1.0, number),
        "outlier": np.where(rng.random(number) < 0.002, 1e12, rng.exponential(3.0, number)),
        "steps": rng.integers(0, 3, number),
        "one": np.full(number, 4.25),
    }[shape].astype(np.float32)
    firsts = np.array([0, 1, 2, 5, 29])
    check(delays, counts, firsts, rng.uniform(0, 6, 30))
    dealt = ordering._deal.py_func(
        delays[:700], np.arange(700), 700, np.zeros(700, np.int64), np.zeros(700, np.int64)
    )
    # both ways to sort were taken
    assert dealt == (shape == "light")


def test_without_hits_or_photons_there_is_nothing():
    nothing = np.zeros(0, dtype=np.float32)
    for hits in (0, 3):
        found = in_time(nothing, np.zeros((hits, 2), np.int64), np.arange(hits), np.zeros(hits))
        assert (len(found.times), len(found.hits)) == (0, 0)


def test_a_time_that_is_no_number_stays_within_its_sensor():
    delays = np.array([2.0, np.nan, 1.0, np.inf, 7.0, 6.0], dtype=np.float32)
    found = in_time(delays, np.array([[4, 2]]), np.array([0]), np.zeros(1))
    assert np.array_equal(np.sort(found.times[:4]), [1.0, 2.0, np.inf, np.nan], equal_nan=True)
    assert found.times[4:].tolist() == [6.0, 7.0]


@settings(deadline=None)
@given(
    npst.arrays(np.int64, st.integers(0, 8), elements=st.integers(0, 5)).flatmap(
        lambda counts: st.tuples(
            st.just(counts), npst.arrays(np.float32, int(counts.sum()), elements=FINITE)
        )
    )
)
def test_the_earliest_two_are_the_first_of_the_sorted(case):
    counts, times = case
    rows = np.split(times, np.cumsum(counts)[:-1]) if len(counts) else []
    padded = [np.append(np.sort(row), [np.inf, np.inf])[:2] for row in rows]
    expected = np.array(padded, dtype=np.float32).reshape(-1, 2).T
    assert np.array_equal(earliest_two(times, counts), expected)
