"""Sub-blocks of a chunk, read one after the other so that memory does not grow with the chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from coffea.nanoevents import NanoEventsFactory
from coffea.nanoevents.mapping import UprootSourceMapping
from coffea.nanoevents.util import key_to_tuple, tuple_to_key
from uproot.source.file import MultithreadedFileSource
from uproot.source.fsspec import FSSpecSource

from processors.baskets import BasketMapping

__all__ = ["Block", "blocks", "direct_reads"]

PROBES = ("GenPart_pt", "GenJet_pt", "Jet_pt")
"""NanoAOD branches whose basket boundaries blocks follow; the first that a file has."""


class Block(NamedTuple):
    """Consecutive events of a chunk; ``start`` and ``stop`` are relative to the chunk."""

    events: Any
    start: int
    stop: int


def blocks(events: Any, size: int, probes: Sequence[str] = PROBES) -> Iterator[Block]:
    """Split a NanoEvents chunk into blocks of about ``size`` events.

    A chunk that is lazily read from a ROOT file is split into lazily read ranges of its own: a
    block's columns are read when first touched and freed with the block. Boundaries follow the
    file's baskets where these are small enough, so that no basket is decompressed twice. Other
    chunks (in memory, parquet) are sliced.

    Arguments:
        events: NanoEvents.
        size: Largest number of events of a block.
        probes: Branches whose basket boundaries the blocks follow, where the file has them.
    """
    factory = events.attrs.get("@events_factory") if hasattr(events, "attrs") else None
    mapping = getattr(factory, "_mapping", None)
    whole = factory is not None and len(factory) == len(events)
    if not whole or not isinstance(mapping, UprootSourceMapping) or not mapping._virtual:
        for start, stop in _steps(np.array([0, len(events)]), size):
            yield Block(events[start:stop], start, stop)
        return
    uuid, path, entries = key_to_tuple(factory._partition_key)
    first, last = (int(edge) for edge in entries.split("-"))
    edges = _basket_edges(mapping, uuid, path, (first, last), probes)
    source = BasketMapping.like(mapping)
    for start, stop in _steps(edges, size):
        key = tuple_to_key((uuid, path, f"{first + start}-{first + stop}"))
        part = NanoEventsFactory(factory._schema, source, key, mode="virtual").events()
        yield Block(part, start, stop)


@contextmanager
def direct_reads(events: Any) -> Iterator[None]:
    """Read a chunk's local file by plain calls inside the context.

    coffea opens files with uproot's general source, which sends every request through a thread:
    4 µs per event of NanoAOD, measured. A memory map would count the file as memory of the
    process. Files that are not local are read as they were opened.
    """
    factory = events.attrs.get("@events_factory") if hasattr(events, "attrs") else None
    handle = getattr(factory, "file_handle", None)
    file = getattr(handle, "file", handle)
    source = getattr(file, "_source", None)
    path = getattr(file, "file_path", None)
    if not isinstance(source, FSSpecSource) or path is None or not Path(path).is_file():
        yield
        return
    file._source = MultithreadedFileSource(path, num_workers=1, use_threads=False)
    try:
        yield
    finally:
        file._source.close()
        file._source = source


def _steps(edges: np.ndarray, size: int) -> Iterator[tuple[int, int]]:
    """Ranges that end on ``edges`` (0 first, the length last) and hold at most ``size`` entries."""
    start, end = 0, int(edges[-1])
    while start < end:
        reachable = edges[(edges > start) & (edges <= start + size)]
        stop = int(reachable[-1]) if len(reachable) else min(start + size, end)
        yield start, stop
        start = stop


def _basket_edges(
    mapping: UprootSourceMapping,
    uuid: str,
    path: str,
    entries: tuple[int, int],
    probes: Sequence[str],
) -> np.ndarray:
    """Entries relative to the first at which baskets of all probes begin, plus both ends."""
    first, last = entries
    tree = mapping._column_source(uuid, path)
    common: set[int] | None = None
    for name in probes:
        if name in tree and hasattr(tree[name], "entry_offsets"):
            offsets = set(tree[name].entry_offsets)
            common = offsets if common is None else common & offsets
    inside = [entry - first for entry in sorted(common or ()) if first < entry < last]
    return np.array([0, *inside, last - first])
