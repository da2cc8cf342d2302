"""Events that occur more than once in the output of a whole dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import uproot

from processors.identity import EventIds, join, repeated

__all__ = ["repeated_events"]

KEYS = ("run", "luminosityBlock", "event", "fold")


def repeated_events(
    paths: Iterable[Path], told: Callable[[np.ndarray], np.ndarray] | None = None
) -> int | None:
    """Events whose (run, luminosity block, event) occurred before in any of the files.

    Such events share their noise: their simulations are not independent. Oversampled copies of an
    event are not counted.

    Arguments:
        paths: Output files of one dataset.
        told: Which event numbers ``(n,)`` tell events apart; all of them by default.
    Returns: ``None`` where it cannot be known: nothing was written, or a file is gone.
    """
    files = list(paths)
    if not files or not all(path.is_file() for path in files):
        return None
    ids = join([_identities(path) for path in files])
    return repeated(ids if told is None else ids.take(told(ids.event)))


def _identities(path: Path) -> EventIds:
    if path.suffix == ".parquet":
        table = pq.read_table(path, columns=list(KEYS))
        columns = [table.column(name).to_numpy() for name in KEYS]
    else:
        with uproot.open(path) as file:
            arrays = file["Events"].arrays(KEYS, library="np")
        columns = [arrays[name] for name in KEYS]
    first = columns[3] == 0
    run, block, event = (values[first] for values in columns[:3])
    return EventIds(run, block, event, digested=False)
