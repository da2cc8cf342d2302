from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from processors.duplicates import repeated_events
from processors.identity import EventIds, event_ids, join, repeated
from processors.writer import event_writer
from tests.processors.toynano import toy_content, write_toy


def ids(events: list[int], blocks: list[int]) -> EventIds:
    return EventIds(
        np.ones(len(events), np.uint32), np.array(blocks), np.array(events, np.uint64), False
    )


def test_repeated_events_are_counted_across_blocks() -> None:
    assert repeated(ids([1, 2, 3], [1, 1, 1])) == 0
    assert repeated(ids([1, 2, 1], [1, 1, 2])) == 0
    assert repeated(join([ids([1, 2], [1, 1]), ids([2, 1, 1], [1, 1, 1])])) == 3


@pytest.mark.parametrize("kind", ["root", "parquet"])
def test_events_repeated_in_two_files_are_found(tmp_path: Path, kind: str) -> None:
    for name, numbers in (("a", [1, 1, 2, 2]), ("b", [2, 2, 3, 3])):
        with event_writer(tmp_path / f"{name}.{kind}", kind, {}) as writer:
            writer.extend(
                {
                    "run": np.ones(4, np.uint32),
                    "luminosityBlock": np.ones(4, np.uint32),
                    "event": np.array(numbers, np.uint64),
                    "fold": np.array([0, 1, 0, 1], np.uint16),
                }
            )
    files = list(tmp_path.glob(f"*.{kind}"))
    assert repeated_events(files) == 1
    assert repeated_events(files[:1]) == 0
    assert repeated_events([*files, tmp_path / "gone"]) is None
    assert repeated_events([]) is None


def test_without_event_numbers_the_content_identifies(
    open_events: Callable, tmp_path: Path
) -> None:
    content = toy_content(60)
    for name in ("run", "luminosityBlock", "event"):
        del content[name]
    path = write_toy(tmp_path / "anonymous.root", content)
    whole = event_ids(open_events(path))
    assert whole.digested
    part = event_ids(open_events(path, 17, 60))
    assert np.array_equal(whole.event[17:], part.event)
    filled = np.asarray(content["GenPart"].counts) > 0
    assert len(np.unique(whole.event[filled])) == filled.sum()
