from __future__ import annotations

import warnings

import hist
import numpy as np
import pytest
from scipy.stats import ks_2samp, wasserstein_distance

from processors.classifier import separation
from processors.distances import from_arrays, from_histograms


def test_arrays_agree_with_scipy() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 2, 700), rng.normal(0.3, 2.5, 900)
    found = from_arrays(x, y)
    assert found.ks == pytest.approx(ks_2samp(x, y).statistic)
    assert found.w1 == pytest.approx(wasserstein_distance(x, y) / x.std())


def test_the_floor_is_what_equal_samples_show() -> None:
    """Mean over 200 pairs; its own error is a few percent."""
    rng = np.random.default_rng(1)
    found = [from_arrays(rng.normal(size=300), rng.normal(size=500)) for _ in range(200)]
    assert np.mean([f.ks for f in found]) == pytest.approx(found[0].ks_floor, rel=0.1)
    assert np.mean([f.w1 for f in found]) == pytest.approx(
        np.mean([f.w1_floor for f in found]), rel=0.1
    )


def histogram(values: np.ndarray, weight: float = 1.0) -> hist.Hist:
    return hist.Hist(hist.axis.Regular(400, -6, 6), storage=hist.storage.Weight()).fill(
        values, weight=weight
    )


def test_histograms_agree_with_arrays_up_to_the_binning() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(0, 1, 5000), rng.normal(0.2, 1.1, 4000)
    binned, exact = from_histograms(histogram(x), histogram(y, 0.5)), from_arrays(x, y)
    assert binned.ks == pytest.approx(exact.ks, abs=0.01)
    assert binned.w1 == pytest.approx(exact.w1, abs=0.01)
    assert binned.ks_floor == pytest.approx(exact.ks_floor)


def test_flow_bins_count() -> None:
    one, two = histogram(np.array([0.0, 100.0])), histogram(np.array([0.0, 0.0]))
    assert from_histograms(one, two).ks == pytest.approx(0.5)


def test_empty_samples_have_no_distance() -> None:
    assert np.isnan(from_arrays(np.array([]), np.array([1.0])).ks)
    assert np.isnan(from_histograms(histogram(np.array([])), histogram(np.array([1.0]))).w1)


def test_the_classifier_tells_only_what_differs() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1500, 3))
    same = separation(x, rng.normal(size=(1500, 3)))
    assert abs(same.auc - 0.5) < 4 * same.error
    shifted = separation(x, rng.normal([1.5, 0, 0], size=(1500, 3)))
    # two unit normals 1.5 apart: AUC = Phi(1.5 / sqrt 2) = 0.856 for the best classifier
    assert 0.8 < shifted.auc < 0.88
    with pytest.raises(ValueError, match="cannot be split"):
        separation(x[:2], x)


def test_pairs_that_share_columns_do_not_fool_the_classifier() -> None:
    rng = np.random.default_rng(4)
    shared = rng.normal(size=(800, 4))
    one, two = (np.hstack([shared, rng.normal(size=(800, 1))]) for _ in range(2))
    found = separation(one, two)
    assert abs(found.auc - 0.5) < 4 * found.error


def test_negative_weights_that_outweigh_leave_the_width_unknown():
    one, two = (hist.Hist.new.Reg(3, 0, 3).Weight() for _ in range(2))
    one.fill([0.5, 1.5, 2.5], weight=[-1.0, 3.0, -1.0])
    two.fill([0.5, 1.5, 2.5])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = from_histograms(one, two)
    assert np.isnan(found.w1)
    assert found.ks > 0
