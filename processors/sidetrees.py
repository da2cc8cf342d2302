"""Trees beside ``Events`` that hold the normalisation of a file."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np

from processors.content import Content
from processors.jagged import Flat

__all__ = ["carries_side_trees", "side_trees", "sum_of_weights"]

NAMES = ("Runs", "LuminosityBlocks")
SUM_BRANCHES = ("genEventSumw", "genEventSumw_")
"""Sum of generator weights before any selection; the second spelling is that of NanoAOD v6."""


def carries_side_trees(events: Any) -> bool:
    """Whether a chunk is the one of its file that carries the trees beside ``Events``.

    It is the chunk that holds the first entry, or, in a file without entries, the empty one.
    """
    place = events.metadata
    if place.get("entrystart", 0) != 0:
        return False
    if place.get("entrystop", len(events)) > 0:
        return True
    handle = _file(events)
    return handle is None or handle[place.get("treename", "Events")].num_entries == 0


def side_trees(events: Any) -> dict[str, Content]:
    """Numbers of the trees beside ``Events`` in the file of a chunk, empty where there are none.

    Arguments:
        events: Lazily read NanoEvents chunk; its file is still open.
    """
    handle = _file(events)
    if handle is None:
        return {}
    present = set(handle.keys(cycle=False, recursive=False))
    return {name: _numbers(handle[name]) for name in NAMES if name in present}


def sum_of_weights(trees: dict[str, Content]) -> float | None:
    """Sum of generator weights of the file, ``None`` where it is not stored."""
    runs = trees.get("Runs", {})
    for name in SUM_BRANCHES:
        if name in runs:
            return float(np.sum(runs[name]))
    return None


def _file(events: Any) -> Any:
    """Open ROOT file of a lazily read chunk, ``None`` for other chunks."""
    factory = events.attrs.get("@events_factory") if hasattr(events, "attrs") else None
    handle = getattr(factory, "file_handle", None)
    handle = getattr(handle, "root_directory", handle)
    return handle if hasattr(handle, "keys") else None


def _numbers(tree: Any) -> Content:
    content: Content = {}
    for name in tree.keys():  # noqa: SIM118  (a TTree is no mapping of its branches' names)
        values = tree[name].array()
        form = str(values.type.content)
        if values.ndim == 2 and "string" not in form:
            counts = np.asarray(ak.num(values, axis=1), dtype=np.int64)
            content[name] = Flat(counts, {"": ak.to_numpy(ak.flatten(values, axis=1))})
        elif values.ndim == 1 and not values.fields and "string" not in form:
            content[name] = ak.to_numpy(values)
    jagged = [name for name, values in content.items() if isinstance(values, Flat)]
    return {name: values for name, values in content.items() if name[1:] not in jagged}
