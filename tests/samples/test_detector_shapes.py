"""Random shapes, flat tables."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest

from samples.detector.shapes import bernoulli, expit, logit, stretch, tailed
from samples.detector.tables import flatten, pair_up, rows_of_index


def test_stretch_is_odd_monotone_and_smooth():
    z = np.linspace(-5, 5, 20_001)
    y = stretch(z, 1.2, 0.6)
    slope = np.diff(y) / np.diff(z)
    assert np.allclose(y, -y[::-1])
    assert np.all(slope > 0)
    assert np.max(np.abs(np.diff(slope))) < 0.01
    assert np.allclose(y[np.abs(z) < 1.2], z[np.abs(z) < 1.2])
    assert np.array_equal(stretch(z, 1.2, 0.0), z)


def test_tails_are_heavier_on_the_side_that_asks_for_it(rng):
    values = tailed(rng, 200_000, (1.0, 0.8), (1.0, 0.0))
    assert abs(np.median(values)) < 0.02
    assert -np.quantile(values, 0.001) > 2 * np.quantile(values, 0.999)


def test_tailed_needs_a_source():
    with pytest.raises(ValueError, match="generator"):
        tailed(None, 3, (1.0, 0.1), (1.0, 0.1))


def test_logistic_pair_inverts():
    x = np.linspace(-12, 12, 101)
    assert np.allclose(logit(expit(x)), x, atol=1e-6)


def test_bernoulli_follows_its_probability(rng):
    probability = np.repeat([0.0, 0.3, 1.0], 50_000)
    found = bernoulli(rng, probability).reshape(3, -1).mean(axis=1)
    assert found[0] == 0
    assert found[2] == 1
    assert found[1] == pytest.approx(0.3, abs=0.01)


def test_pairs_stay_inside_their_event():
    def table(counts, phi):
        total = sum(counts)
        values = ak.unflatten(np.linspace(-1, 1, total), counts)
        return flatten(ak.zip({"eta": values, "phi": values * 0 + phi}), ["eta", "phi"])

    left, right = table([2, 0, 1], 3.1), table([3, 2, 0], -3.1)
    pairs = pair_up(left, right)
    assert len(pairs.left) == 2 * 3 + 0 * 2 + 1 * 0
    assert np.array_equal(left.event[pairs.left], right.event[pairs.right])
    assert np.min(pairs.dr) < 2 * np.pi - 6.2 + 1.0
    assert rows_of_index(right, np.array([0, 1, 1]), np.array([2, 0, -1])).tolist() == [2, 3, -1]


def test_taking_rows_keeps_events_apart():
    values = ak.Array([[1.0, 2.0], [], [3.0]])
    table = flatten(ak.zip({"pt": values}), ["pt"])
    part = table.take(np.array([1, 2]))
    assert part.counts.tolist() == [1, 0, 1]
    assert part.starts.tolist() == [0, 1, 1]
    assert part["pt"].tolist() == [2.0, 3.0]
