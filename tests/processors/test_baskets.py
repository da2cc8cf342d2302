from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from processors.baskets import BasketMapping, read_branch
from processors.blocks import blocks

ENTRIES = (30, 50, 20)
"""Entries of the baskets of the file below."""
RANGES = ((0, 100), (0, 30), (30, 80), (10, 20), (25, 95), (80, 81), (40, 40), (100, 100))


@pytest.fixture(scope="module", params=["ZSTD", "LZ4", "ZLIB", "LZMA", None])
def tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tree of three baskets per branch, plain and jagged, compressed in every way."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("baskets") / "numbers.root"
    compression = getattr(uproot, request.param)(1) if request.param else None
    with uproot.recreate(path, compression=compression) as file:
        for number, events in enumerate(ENTRIES):
            counts = rng.poisson(3, events) * (number != 1 or rng.random(events) > 0.5)
            content = rng.normal(0, 1, (int(counts.sum()), 4))
            records = {"f": content[:, 0].astype("f4"), "b": content[:, 1] > 0}
            records |= {"i": (9 * content[:, 2]).astype("i4"), "u": content[:, 3].astype("u1")}
            arrays = {
                "flag": rng.random(events) > 0.5,
                "long": rng.integers(0, 2**63, events, dtype=np.uint64),
                "float": rng.normal(size=events).astype("f4"),
                "pair": rng.normal(size=(events, 2)),
                "J": ak.unflatten(ak.zip(records), counts),
            }
            if number == 0:
                types = {name: ak.Array(values).type.content for name, values in arrays.items()}
                tree = file.mktree("Events", types)
            tree.extend(arrays)
    with uproot.open(path) as file:
        yield file["Events"]


@pytest.mark.parametrize(("start", "stop"), RANGES)
def test_numbers_are_those_of_uproot(tree: Any, start: int, stop: int) -> None:
    for name in ("flag", "long", "float", "nJ", "J_f", "J_b", "J_i", "J_u"):
        layout = read_branch(tree[name], start, stop)
        assert layout is not None, name
        expected = tree[name].array(entry_start=start, entry_stop=stop)
        assert ak.Array(layout).type == expected.type
        assert ak.to_list(layout) == ak.to_list(expected)


def test_other_contents_are_left_to_uproot(tree: Any) -> None:
    assert read_branch(tree["pair"], 0, 10) is None
    assert read_branch(object(), 0, 10) is None


def test_blocks_of_a_file_are_read_by_baskets(open_events: Callable, nano: Path) -> None:
    events = open_events(nano)
    (block,) = blocks(events, 1000)
    factory = block.events.attrs["@events_factory"]
    assert isinstance(factory._mapping, BasketMapping)
    assert ak.array_equal(block.events.GenPart.pt, events.GenPart.pt)
    assert ak.array_equal(block.events.genWeight, events.genWeight)


def test_every_branch_of_a_real_file_reads_as_by_uproot(real_data: Path) -> None:
    with uproot.open(real_data / "nano" / "nano_tt_v12_200.root") as file:
        for branch in file["Events"].branches:
            layout = read_branch(branch, 20, 170)
            assert layout is not None, branch.name
            expected = branch.array(entry_start=20, entry_stop=170)
            assert ak.array_equal(layout, expected, equal_nan=True), branch.name


def test_baskets_inside_the_header_are_left_to_uproot(real_data: Path) -> None:
    with uproot.open(real_data / "nano" / "nanoAOD_2015_opendata_ttbar_200.root") as file:
        assert read_branch(file["Events"]["GenPart_pt"], 20, 170) is None


def test_a_file_cut_short_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "short.root"
    with uproot.recreate(path) as file:
        file.mktree("Events", {"x": "f8"}).extend({"x": np.arange(1000.0)})
    with uproot.open(path) as file:
        branch = file["Events"]["x"]
        begin, end = branch.entries_to_ranges_or_baskets(0, 1000)[0][1]
        with path.open("r+b") as raw:
            raw.truncate((begin + end) // 2)
        with pytest.raises(OSError, match="expected Chunk of length"):
            read_branch(branch, 0, 1000)
