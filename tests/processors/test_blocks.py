from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from processors.blocks import _steps, blocks


@pytest.mark.parametrize("size", [7, 40, 1000])
def test_blocks_cover_the_chunk_once_in_order(open_events: Callable, nano: Path, size: int) -> None:
    events = open_events(nano, 20, 150)
    parts = list(blocks(events, size))
    assert [p.start for p in parts[1:]] == [p.stop for p in parts[:-1]]
    assert (parts[0].start, parts[-1].stop) == (0, 130)
    assert max(p.stop - p.start for p in parts) <= size
    numbers = np.concatenate([ak.to_numpy(p.events.event) for p in parts])
    assert np.array_equal(numbers, ak.to_numpy(events.event))


def test_a_block_reads_only_its_own_range(open_events: Callable, nano: Path) -> None:
    events = open_events(nano)
    first = next(iter(blocks(events, 10)))
    ak.materialize(first.events.GenPart.pt)
    assert not events.layout.is_all_materialized
    assert len(ak.flatten(first.events.GenPart.pt)) == ak.sum(ak.num(first.events.GenPart.pt))


def test_events_in_memory_are_sliced(open_events: Callable, nano: Path) -> None:
    events = ak.materialize(open_events(nano)[["event", "run"]])[5:25]
    parts = list(blocks(events, 8))
    assert [len(p.events) for p in parts] == [8, 8, 4]


def test_no_events_give_no_blocks(open_events: Callable, nano: Path) -> None:
    assert list(blocks(open_events(nano, 10, 10), 5)) == []


def test_steps_end_on_basket_edges_where_these_are_close_enough() -> None:
    assert list(_steps(np.array([0, 30, 60, 90, 100]), 70)) == [(0, 60), (60, 100)]
    assert list(_steps(np.array([0, 90, 100]), 40)) == [(0, 40), (40, 80), (80, 100)]
