"""Sums in an order that the plan alone decides."""

from __future__ import annotations

import hist
import numpy as np
import pytest
from coffea.processor.executor import WorkItem
from hypothesis import given
from hypothesis import strategies as st

from executors.reduction import Reduction, add, cut


def items(datasets):
    return [WorkItem(name, "f", "Events", n, n + 1, b"") for n, name in enumerate(datasets)]


@given(st.text("ab", max_size=40), st.integers(1, 7))
def test_groups_cover_the_plan_and_keep_datasets_apart(datasets, size):
    groups = cut(items(datasets), size)
    assert [position for group in groups for position in group] == list(range(len(datasets)))
    assert all(len({datasets[position] for position in group}) == 1 for group in groups)
    assert all(1 <= len(group) <= size for group in groups)
    # no group could take the chunk that follows it
    for group in groups:
        if group.stop < len(datasets) and len(group) < size:
            assert datasets[group.stop] != datasets[group.start]


def content(bins=4, weight=1.0):
    filled = hist.Hist.new.Reg(bins, 0, 1, name="x").Weight().fill(x=[0.5], weight=weight)
    return {"mc": {"hists": {"h": filled}, "counters": {"n": 1}, "outputs": []}}


def test_results_are_added_from_left_to_right():
    weights = [1e16, 1.0, -1e16, 3.0]  # their sum depends on the order
    reduction, results = Reduction(), [content(weight=weight) for weight in weights]
    for position, result in enumerate(results):
        reduction.add(position, result)
    (part,) = reduction.parts
    expected = 0.0
    for weight in weights:
        expected += weight
    assert part.positions == [0, 1, 2, 3]
    assert part.accumulator["mc"]["hists"]["h"].sum().value == expected
    # what was added is as it was
    assert [one["mc"]["hists"]["h"].sum().value for one in results] == weights


def test_what_does_not_fit_starts_a_part_of_its_own():
    reduction = Reduction()
    for position, bins in enumerate([3, 4, 4, 3]):
        reduction.add(position, content(bins))
    assert [part.positions for part in reduction.parts] == [[0, 3], [1, 2]]
    assert [part.accumulator["mc"]["counters"]["n"] for part in reduction.parts] == [2, 2]


@pytest.mark.parametrize("wrong", [{"n": "text"}, {"n": [1]}])
def test_a_sum_that_fails_leaves_the_total_as_it_was(wrong):
    total = {"mc": {"a": 1, "n": 2}}
    with pytest.raises(TypeError):
        add(total, {"mc": {"a": 1, **wrong}})
    assert total == {"mc": {"a": 1, "n": 2}}


def test_arrays_add():
    total = add({}, {"mc": {"x": np.ones(2)}})
    np.testing.assert_array_equal(add(total, {"mc": {"x": np.ones(2)}})["mc"]["x"], [2.0, 2.0])
