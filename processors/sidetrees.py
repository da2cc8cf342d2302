"""Trees beside ``Events`` that hold the normalisation of a file."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np

from processors.content import Content
from processors.jagged import Flat

__all__ = ["side_trees", "sum_of_weights"]

NAMES = ("Runs", "LuminosityBlocks")
SUM_BRANCHES = ("genEventSumw", "genEventSumw_")
"""Sum of generator weights before any selection; the second spelling is that of NanoAOD v6."""


def side_trees(events: Any) -> dict[str, Content]:
    """Numbers of the trees beside ``Events`` in the file of a chunk, empty where there are none.

    Arguments:
        events: Lazily read NanoEvents chunk; its file is still open.
    """
    factory = events.attrs.get("@events_factory") if hasattr(events, "attrs") else None
    handle = getattr(factory, "file_handle", None)
    if not hasattr(handle, "keys"):
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
