from __future__ import annotations

import awkward as ak
import numpy as np
import pytest

from processors.jagged import Flat, delta_phi, flatten, pairs, spans, unflatten, wrap_phi


def test_flatten_then_unflatten_gives_the_collection_back() -> None:
    jagged = ak.Array([[{"x": 1.0}], [], [{"x": 2.0}, {"x": 3.0}]])
    flat = flatten(jagged, ["x"])
    assert flat.counts.tolist() == [1, 0, 2]
    assert ak.to_list(unflatten(flat["x"], flat.counts)) == [[1.0], [], [2.0, 3.0]]


def test_a_sliced_collection_starts_at_its_own_first_object() -> None:
    jagged = ak.Array([[{"x": 1.0}], [{"x": 2.0}], [{"x": 3.0}]])[1:]
    assert flatten(jagged, ["x"])["x"].tolist() == [2.0, 3.0]


def test_selection_keeps_events_that_become_empty() -> None:
    flat = Flat(np.array([1, 2]), {"x": np.array([5.0, 6.0, 7.0])})
    kept = flat.select(flat["x"] > 5.5)
    assert kept.counts.tolist() == [0, 2]
    assert kept["x"].tolist() == [6.0, 7.0]


@pytest.mark.parametrize(("first", "second"), [([2, 0, 3], [1, 4, 2]), ([0, 0], [3, 1]), ([], [])])
def test_pairs_are_all_of_the_same_event(first: list[int], second: list[int]) -> None:
    one, two = np.array(first, int), np.array(second, int)
    a, b = pairs(one, two)
    event_a, event_b = np.repeat(np.arange(len(one)), one), np.repeat(np.arange(len(two)), two)
    expected = {
        (i, j) for i in range(len(event_a)) for j in range(len(event_b)) if event_a[i] == event_b[j]
    }
    assert set(zip(a.tolist(), b.tolist(), strict=True)) == expected
    assert len(a) == len(expected)
    assert (np.diff(a) >= 0).all()


def test_angles_stay_within_half_a_turn() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.uniform(-np.pi, np.pi, (2, 1000)).astype(np.float32)
    difference = delta_phi(one, two)
    assert difference.dtype == np.float32
    assert (np.abs(difference) <= np.pi + 1e-6).all()
    np.testing.assert_allclose(np.cos(difference), np.cos(one - two), atol=1e-5)
    assert wrap_phi(np.array([4.0]))[0] == pytest.approx(4.0 - 2 * np.pi)


@pytest.mark.parametrize("most", [0, 1, 7, 40, 1000])
def test_spans_cover_all_rows_and_are_as_long_as_allowed(most: int) -> None:
    sizes = np.random.default_rng(3).poisson(6, 100) * (np.arange(100) % 7 > 0)
    found = list(spans(sizes, most))
    assert [row for first, stop in found for row in range(first, stop)] == list(range(100))
    for first, stop in found:
        assert stop - first == 1 or sizes[first:stop].sum() <= most
        assert stop == 100 or sizes[first : stop + 1].sum() > most


def test_without_rows_there_is_one_empty_span() -> None:
    assert list(spans(np.zeros(0), 5)) == [(0, 0)]
