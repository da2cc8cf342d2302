from __future__ import annotations

import hist
import numpy as np
import pytest

from processors.histogramming import Binning, category_axis, fill, make

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
