from __future__ import annotations

import hist
import numpy as np
import pytest

from processors.histogramming import Binning, category_axis, fill, fill_rows, make

LINEAR = Binning(20, -1.0, 2.0)
GEOMETRIC = Binning(20, 0.01, 100.0, geometric=True)


@pytest.mark.parametrize("bins", [LINEAR, GEOMETRIC])
@pytest.mark.parametrize("weighted", [False, True])
def test_filling_equals_that_of_hist(bins: Binning, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0.5, 2.0, 5000).astype(np.float32)
    x[:10] = [np.nan, np.inf, -np.inf, 0, -1, 1, 2, 100, 0.0101, 5]
    weights = rng.normal(1, 1, 5000) if weighted else np.full(5000, 0.5)
    codes = rng.integers(0, 2, 5000)
    ours = make([category_axis("ab", "c")], [("x", bins)])
    fill(ours, [codes], [bins.index(x)], weights if weighted else 0.5)
    reference = hist.Hist(ours.axes[0], bins.axis("x"), storage=hist.storage.Weight())
    reference.fill(np.array(["a", "b"])[codes], np.nan_to_num(x, nan=-1e9), weight=weights)
    np.testing.assert_allclose(ours.values(flow=True), reference.values(flow=True), atol=1e-9)
    np.testing.assert_allclose(ours.variances(flow=True), reference.variances(flow=True), atol=1e-9)


def test_two_variables_land_in_the_right_cell() -> None:
    plane = make([category_axis("ab", "c")], [("x", LINEAR), ("y", GEOMETRIC)])
    indices = [LINEAR.index(np.array([0.0])), GEOMETRIC.index(np.array([1.1]))]
    fill(plane, [1], indices, 2.0)
    assert plane["b", hist.loc(0.0), hist.loc(1.1)].value == 2.0
    assert plane.sum(flow=True).value == 2.0


def test_filling_adds_up_exactly_for_whole_weights() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=1000)
    once = make([category_axis("a", "c")], [("x", LINEAR)])
    parts = make([category_axis("a", "c")], [("x", LINEAR)])
    fill(once, [0], [LINEAR.index(x)], 1.0)
    for part in np.split(x, [10, 333, 777]):
        fill(parts, [0], [LINEAR.index(part)], 1.0)
    assert once == parts


@pytest.mark.parametrize("weight", [1.0, 1.0 / 3.0])
def test_rows_fill_what_their_entries_fill(weight: float) -> None:
    rng = np.random.default_rng(2)
    axes = [("x", GEOMETRIC), ("y", LINEAR)]
    counts = rng.poisson(40, 60)
    counts[[0, 5, 59]] = 0
    y = rng.normal(0.5, 2.0, counts.sum()).astype(np.float32)
    y[:8] = [np.nan, np.inf, -np.inf, -1.0, 2.0, np.nextafter(np.float32(2), 0), 1e30, -1e30]
    x = GEOMETRIC.index(rng.lognormal(size=60))
    rows, entries = (make([category_axis("ab", "c")], axes) for _ in range(2))
    for _ in range(2):
        fill_rows(rows, [1], [x], counts, (LINEAR, y), weight)
        fill(entries, [1], [np.repeat(x, counts), LINEAR.index(y)], weight)
    assert rows == entries
    assert rows.sum(flow=True).value == pytest.approx(2 * weight * len(y))


def test_rows_without_entries_fill_nothing() -> None:
    empty = make([category_axis("a", "c")], [("x", LINEAR), ("y", LINEAR)])
    nothing = (LINEAR, np.zeros(0, dtype=np.float32))
    fill_rows(empty, [0], [np.array([3, 4])], np.array([0, 0]), nothing, 1.0)
    assert empty.sum(flow=True).value == 0.0
