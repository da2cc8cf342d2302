"""Layouts: what is refused, what survives a dictionary."""

from __future__ import annotations

import json

import pytest

from flows.features import RatioTo, Standardise
from flows.layout import (
    CategoryColumn,
    ConditionColumn,
    LayoutError,
    ObjectLayout,
    TargetColumn,
)
from flows.testing import toy_layout


def make(**changes):
    fields = {
        "object": "a",
        "collection": "A",
        "source": "GenA",
        "conditions": (ConditionColumn("pt"),),
        "targets": (TargetColumn("pt"),),
    }
    return ObjectLayout(**(fields | changes))


def test_layout_survives_json():
    layout = toy_layout()
    assert ObjectLayout.from_dict(json.loads(json.dumps(layout.to_dict()))) == layout


def test_spiked_targets_get_a_hidden_category():
    hidden = toy_layout().hidden
    assert [c.name for c in hidden] == ["spike:tag", "spike:tag2", "spike:iso"]
    assert all(c.values == (0, 1) for c in hidden)
    assert toy_layout().discrete == toy_layout().categories + hidden


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"conditions": ()}, "no condition"),
        ({"conditions": (ConditionColumn("pt"), ConditionColumn("pt"))}, "more than once"),
        ({"categories": (CategoryColumn("pt", (0, 1)),)}, "more than once"),
        ({"targets": (TargetColumn("pt", "1", (RatioTo("eta"),)),)}, "eta"),
        ({"conditions": (ConditionColumn("pt", "1", (RatioTo("pt"),)),)}, "refer"),
        ({"pileup": ("nPU",)}, "nPU"),
    ],
)
def test_what_cannot_work_is_refused_by_name(change, word):
    with pytest.raises(LayoutError, match=word):
        make(**change)


def test_columns_refuse_repeated_values():
    with pytest.raises(LayoutError, match="charge"):
        CategoryColumn("charge", (1, 1))
    with pytest.raises(LayoutError, match="tag"):
        TargetColumn("tag", "1", (Standardise(),), spikes=(0.0, 0.0))


def test_check_names_what_is_missing():
    with pytest.raises(LayoutError, match=r"bundle x needs conditions \['pt'\]"):
        make().check([], ["pt"], where="bundle x")
    with pytest.raises(LayoutError, match=r"does not make \['mass'\]"):
        make().check(["pt"], ["pt", "mass"], where="bundle x")


def test_a_layout_that_lacks_an_entry_is_refused():
    data = make().to_dict()
    del data["source"]
    with pytest.raises(LayoutError, match="source"):
        ObjectLayout.from_dict(data)
