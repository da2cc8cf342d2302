"""Accumulators as JSON and arrays, and back."""

from __future__ import annotations

import json
from decimal import Decimal

import hist
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executors.results.packing import UnpackableError, pack, unpack

AXES = [
    hist.axis.Regular(3, 0.1, 1.3, name="a", label="A"),
    hist.axis.Regular(3, 0, 1, name="a", circular=True),
    hist.axis.Regular(3, 0, 1, name="a", underflow=False, growth=False),
    hist.axis.Regular(3, 1, 20, name="a", transform=hist.axis.transform.log),
    hist.axis.Integer(-2, 3, name="a", growth=True),
    hist.axis.IntCategory([1, 5], name="a", growth=True),
    hist.axis.StrCategory(["x", "y"], name="a", overflow=False),
    hist.axis.Boolean(name="a"),
    hist.axis.Variable([0, 0.1, 0.3], name="a", overflow=False),
]
STORAGES = [
    hist.storage.Double,
    hist.storage.Int64,
    hist.storage.AtomicInt64,
    hist.storage.Weight,
    hist.storage.Mean,
    hist.storage.WeightedMean,
]


def through(value):
    tree, arrays = pack(value)
    return unpack(json.loads(json.dumps(tree)), arrays)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("axis", AXES, ids=repr)
def test_histograms_come_back_bit_for_bit(axis, storage):
    second = hist.axis.Regular(2, 0, 1, name="b")
    histogram = hist.Hist(axis, second, storage=storage(), name="n", label="l")
    view = histogram.view(flow=True)
    raw, rng = view.view(np.ndarray), np.random.default_rng(1)
    for part in [raw[name] for name in raw.dtype.names or ()] or [raw]:
        part[...] = rng.normal(1e3, 1e3, part.shape)
    back = through({"h": histogram})["h"]
    assert back.axes == histogram.axes
    assert [a.traits for a in back.axes] == [a.traits for a in histogram.axes]
    assert (back.name, back.label, back.axes[0].label) == ("n", "l", histogram.axes[0].label)
    assert back.view(flow=True).tobytes() == view.tobytes()
    if storage is not hist.storage.Mean and storage is not hist.storage.WeightedMean:
        assert (back + histogram).axes == histogram.axes


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(1, 300))
def test_edges_come_back_to_the_last_bit_or_are_refused(start, width, bins):
    histogram = hist.Hist(hist.axis.Regular(bins, start, start + width, name="x"))
    try:
        back = through(histogram)
    except UnpackableError:
        return
    assert back.axes == histogram.axes


def test_what_comes_back_shares_nothing():
    histogram = hist.Hist(AXES[0])
    one, two = through(histogram), through(histogram)
    one.view(flow=True)[...] = 1
    one.axes[0].label = "changed"
    assert two.sum(flow=True) == 0
    assert through(histogram).axes[0].label == "A"


def test_plain_values():
    value = {
        "counters": {"f32": np.float32(0.1), "i": 3, "f": 0.1, "nan": float("nan"), "yes": True},
        "outputs": ["a", "b"],
        "more": {
            "array": np.arange(6, dtype=np.uint16).reshape(2, 3),
            "set": {1, 2},
            "t": (1, None),
        },
        "text": np.array(["a", "bcd"]),
        "empty": np.zeros((0, 3), np.int8),
    }
    back = through(value)
    assert list(back["counters"]) == list(value["counters"])
    assert type(back["counters"]["f32"]) is np.float32
    assert back["counters"]["f32"] == np.float32(0.1)
    assert np.isnan(back["counters"].pop("nan"))
    value["counters"].pop("nan")
    assert back["counters"] == value["counters"]
    assert back["more"]["array"].dtype == np.uint16
    assert back["more"].pop("array").tolist() == value["more"].pop("array").tolist()
    assert back["more"] == value["more"]
    assert back["text"].tolist() == ["a", "bcd"]
    assert back["empty"].shape == (0, 3)


@pytest.mark.parametrize(
    "value",
    [
        {1: 2},
        Decimal(1),
        np.array([object()]),
        hist.Hist(AXES[0], storage=hist.storage.Unlimited()),
        hist.Hist(hist.axis.Regular(3, 1, 2, transform=hist.axis.transform.Pow(2))),
        object(),
    ],
)
def test_what_has_no_exact_form_is_refused(value):
    with pytest.raises(UnpackableError):
        pack({"value": value})
