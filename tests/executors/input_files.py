"""Input files with the least that a run needs."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import uproot


def write_events(path: Path, events: int, *, first: int = 0, tree: str = "Events") -> Path:
    """Write a file with the least that NanoAODSchema and the counting processor need."""
    rng = np.random.default_rng(first + events)
    number = np.arange(first, first + events, dtype=np.uint64)
    counts = np.full(events, 3)
    content = {
        "run": np.ones(events, np.uint32),
        "luminosityBlock": np.ones(events, np.uint32),
        "event": number,
        "genWeight": rng.normal(1, 2, events).astype(np.float32),
        "GenPart": ak.zip(
            {"pt": ak.unflatten(rng.exponential(30, counts.sum()).astype(np.float32), counts)}
        ),
    }
    with uproot.recreate(path) as file:
        file.mktree(tree, content)
    return path
