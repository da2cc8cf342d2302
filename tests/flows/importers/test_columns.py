"""Files of columns are read entry by entry."""

from __future__ import annotations

import json
import math

import pytest

from flows.card import Range
from flows.features import Log, Standardise
from flows.importers.columns import Scales, columns_of, read_columns
from flows.importers.source import ForeignModelError

GOOD = {
    "object": "jet",
    "collection": "Jet",
    "source": "GenJet",
    "conditions": [
        {
            "name": "pt",
            "unit": "GeV",
            "range": [10, 2000],
            "transforms": [
                {"kind": "log", "scale": 1.0, "offset": 0.0, "floor": 1e-12},
                {"kind": "standardise", "mean": 4.0, "deviation": 1.0},
            ],
        },
        "eta",
    ],
    "targets": [{"name": "area", "operations": [["s"]]}, {"name": "m", "unit": "GeV"}],
    "definitions": {"campaign": "2018"},
}
SCALES = Scales({"area": 2.0, "m": 100}, {"area": [0, 1], "m": [0, 500]})


def test_columns_are_as_written():
    columns = columns_of(GOOD, SCALES)
    pt, eta = columns.layout.conditions
    assert (pt.unit, eta.unit) == ("GeV", "1")
    assert pt.transforms == (Log(), Standardise(4.0, 1.0))
    assert columns.ranges == {"pt": Range(10.0, 2000.0)}
    assert columns.definitions == {"campaign": "2018"}
    assert [len(t.transforms) for t in columns.layout.targets] == [2, 2]
    assert columns_of(GOOD | {"targets": ["m"]}).layout.targets[0].transforms == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colection": "Jet"}, "unknown entries .'colection'"),
        ({"targets": []}, "at least one column"),
        ({"targets": [3]}, "a name or an object"),
        ({"targets": [{"unit": "GeV"}]}, "missing entries .'name'"),
        ({"targets": [{"name": "area", "operations": "s"}]}, "list of lists"),
        ({"targets": [{"name": "area", "operations": [["s"]], "transforms": []}]}, "keep one"),
        ({"targets": [{"name": "area", "transforms": [{"kind": "cube"}]}]}, "unknown column"),
        ({"targets": [{"name": "n", "operations": [["s"]]}]}, "'n' has no scale factor"),
        ({"conditions": [{"name": "pt", "range": [3, 1]}]}, "range of condition 'pt'"),
        ({"conditions": ["pt", "pt"]}, "more than once"),
        ({"conditions": [{"name": "pt", "range": [0, math.inf]}]}, "finite, found .0, inf."),
        ({"conditions": [{"name": "pt", "range": [math.nan, math.nan]}]}, "finite, found"),
        ({"conditions": [{"name": "pt", "range": [True, 5]}]}, "finite, found"),
        (
            {
                "conditions": [
                    {
                        "name": "pt",
                        "transforms": [{"kind": "standardise", "mean": 0, "deviation": 0}],
                    }
                ]
            },
            "transforms of column 'pt': .*positive deviation",
        ),
        ({"definitions": [1]}, "definitions are an object"),
    ],
)
def test_entries_that_cannot_be_read_are_named(change, message):
    with pytest.raises(ForeignModelError, match=message):
        columns_of(GOOD | change, SCALES)


LOG = {"name": "m", "transforms": [{"kind": "log1p", "scale": 1.0}]}


@pytest.mark.parametrize(
    ("target", "scales", "message"),
    [
        (LOG, Scales({"m": 7.0}), "has transforms, which its scale factor would not enter"),
        (LOG, Scales(None, {"m": [0, 1]}), "its range would not enter"),
        ("m", Scales({"m": 7.0}, {}), "'m' has no range"),
        ("m", Scales({"m": 7.0, "M": 1.0}), r"scale factors of \['M'\] \(1 in all\) belong to no"),
        ("m", Scales(None, {"m": [0, 1], "n": [0, 1]}), r"ranges of \['n'\] .* belong to no"),
        ("m", Scales(None, {"m": [-math.inf, 1]}), "range of column 'm': .* finite"),
        ("m", Scales({"m": math.inf}), "no scale factor, found inf"),
    ],
)
def test_factors_and_ranges_that_would_have_no_effect_are_refused(target, scales, message):
    with pytest.raises(ForeignModelError, match=message):
        columns_of(GOOD | {"targets": [target]}, scales)


def test_conditions_that_an_operation_needs_must_be_there():
    scales = Scales({"m": 100}, {"m": [0, 1]})
    with pytest.raises(ForeignModelError, match=r"refers to \['mass'\]"):
        columns_of(GOOD | {"targets": [{"name": "m", "operations": [["m", "mass"]]}]}, scales)


def test_a_file_is_named_in_its_errors(tmp_path):
    path = tmp_path / "columns.json"
    path.write_text(json.dumps(GOOD | {"targets": []}))
    with pytest.raises(ForeignModelError, match=r"columns\.json: targets"):
        read_columns(path)
    path.write_text(json.dumps(GOOD))
    assert read_columns(path, SCALES).layout.object == "jet"
