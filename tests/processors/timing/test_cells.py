from __future__ import annotations

import numpy as np
import pytest

from processors.errors import ConfigurationError
from processors.timing.cells import CellFields
from samples.timing.edm4hep import CELL


def test_fields_follow_each_other_or_lie_where_they_are_told():
    fields = CellFields.parse("system:8, stave:4,layer:20:6,z:-16").fields
    assert {name: (f.offset, f.width, f.signed) for name, f in fields.items()} == {
        "system": (0, 8, False),
        "stave": (8, 4, False),
        "layer": (20, 6, False),
        "z": (26, 16, True),
    }


def test_signed_fields_and_the_highest_bit():
    fields = CellFields.parse("a:60,s:-4")
    cells = np.array([0xF << 60, 0x7 << 60, 0x8 << 60, (1 << 60) - 1], dtype=np.uint64)
    assert fields.value(cells, "s").tolist() == [-1, 7, -8, 0]
    assert fields.value(cells, "a").tolist() == [0, 0, 0, (1 << 60) - 1]


def test_the_mask_of_a_bar_is_what_the_sample_writes():
    text = ",".join(f"{name}:{width}" for name, (_, width) in CELL.items())
    fields = CellFields.parse(text)
    assert {name: (f.offset, f.width) for name, f in fields.fields.items()} == CELL
    assert int(fields.mask(("system", "stave", "layer", "segment"))) == (1 << 22) - 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("system", "'system' of 'system' is none"),
        ("a:8,b:0", "'b:0' of .* empty"),
        ("a:8,a:4", "'a:4' of .* repeated"),
        ("a:8,b:4:4", "'b:4:4' of"),
        ("a:60,b:8", "beyond 64 bits"),
    ],
)
def test_what_is_no_layout_is_refused(text, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        CellFields.parse(text)


def test_a_field_that_is_named_twice_has_its_bits_once():
    fields = CellFields.parse("a:1,b:2")
    assert fields.mask(("a", "b", "b")) == fields.mask(("a", "b"))


def test_an_unknown_field_is_named():
    with pytest.raises(ConfigurationError, match="no field 'side'; they have a, b"):
        CellFields.parse("a:1,b:2").mask(("a", "side"))
