"""Which chunks of a plan an earlier run has finished, and why the others have to run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coffea.processor.executor import WorkItem

from executors.ledger import ChunkRecord
from executors.results.state import DamagedStateError, OutputFile, StaleStateError, StateStore

__all__ = ["Resumption", "resume"]

READERS = 8  # files read at once; chosen: reading waits for storage, checking frees the interpreter
_SHOWN = 5  # distinct reasons told; chosen


@dataclass(frozen=True)
class Resumption:
    """What of an earlier run can be used again, and why the rest cannot.

    Arguments:
        records: Records of reusable chunks by position in the plan.
        outputs: Their output files, relative to the output directory.
        missing: Chunks that were never stored.
        stale: Chunks stored by a run with another configuration, seed, bundle or code.
        damaged: Chunks whose state file is not what was written.
        outputs_gone: Chunks whose output files are not there, or not whole.
        unused: State files of chunks that the plan does not have.
        reasons: What made chunks stale or damaged, with their number.
    """

    records: Mapping[int, ChunkRecord] = field(default_factory=dict)
    outputs: frozenset[str] = frozenset()
    missing: int = 0
    stale: int = 0
    damaged: int = 0
    outputs_gone: int = 0
    unused: int = 0
    reasons: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Counts and reasons, for the report."""
        names = ("missing", "stale", "damaged", "outputs_gone", "unused")
        counts = {name: getattr(self, name) for name in names}
        return {"reused": len(self.records), **counts, "reasons": list(self.reasons)}


def resume(
    items: Sequence[WorkItem], store: StateStore, present: Mapping[str, int] | None = None
) -> Resumption:
    """Look at the stored result of every planned chunk.

    Arguments:
        items: Chunks of the plan.
        store: State files as this run would write them.
        present: Output files with their sizes that need not be there under their own names:
            they were joined into a larger file that is whole.
    """
    present = present or {}

    def look(item: WorkItem) -> tuple[str, Any]:
        try:
            found = store.inspect(item)
        except StaleStateError as error:
            return "stale", str(error)
        except DamagedStateError:
            return "damaged", "their state files are damaged"
        if found is None:
            return "missing", None
        record, outputs = found
        if all(
            present.get(file.path) == file.size or _whole(store.output, file) for file in outputs
        ):
            return "reused", (record, [file.path for file in outputs])
        return "outputs_gone", "their output files are gone or cut short"

    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(look, items))
    counts = Counter(verdict for verdict, _ in found)
    reused = {i: what for i, (verdict, what) in enumerate(found) if verdict == "reused"}
    reasons = Counter(what for verdict, what in found if isinstance(what, str))
    planned = {store.path(item) for item in items}
    return Resumption(
        records={i: record for i, (record, _) in reused.items()},
        outputs=frozenset(path for _, paths in reused.values() for path in paths),
        missing=counts["missing"],
        stale=counts["stale"],
        damaged=counts["damaged"],
        outputs_gone=counts["outputs_gone"],
        unused=sum(path not in planned for path in store.files()),
        reasons=tuple(f"{n} chunks: {why}" for why, n in reasons.most_common(_SHOWN)),
    )


def _whole(directory: Path, file: OutputFile) -> bool:
    path = directory / file.path
    return path.is_file() and path.stat().st_size == file.size
