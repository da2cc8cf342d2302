"""Ledger of a run while it goes on: one line per chunk in a file that others may read."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from executors.ledger import ChunkRecord
from executors.plan import Plan
from executors.results.state import FOLDER

__all__ = ["NAME", "Journal", "DatasetProgress", "read_progress"]

logger = logging.getLogger(__name__)

NAME = "ledger.jsonl"


class Journal:
    """Context manager and listener that appends what became of each chunk.

    The first line names the plan. A line is there completely or is the last one, cut short.

    Arguments:
        output: Output directory.
        plan: Chunks of the run.
    """

    def __init__(self, output: Path, plan: Plan) -> None:
        self.path = output / FOLDER / NAME
        self._plan = plan
        self._file: TextIO | None = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def begin(self) -> None:
        """Start a new journal."""
        planned = {name: {"chunks": 0, "events": 0, "unknown": 0} for name in self._plan.datasets}
        for item in self._plan.items:
            planned[item.dataset]["chunks"] += 1
            planned[item.dataset]["events"] += len(item)
        for file in self._plan.unknown:
            planned[file.dataset]["unknown"] += 1
        self.path.parent.mkdir(exist_ok=True)
        self._file = self.path.open("w", encoding="utf-8")
        self._write({"planned": planned, "time": time.time()})

    def heard(self, record: ChunkRecord) -> None:
        """Append one chunk."""
        line: dict[str, Any] = {
            "dataset": record.dataset,
            "status": "reused" if record.reused else record.status,
            "events": record.events,
            "attempts": record.attempts,
            "time": time.time(),
        }
        if record.status == "failed":
            place = f"{record.file} entries {record.start}-{record.stop}"
            line |= {"place": place, "reason": record.reason}
        self._write(line)

    def _write(self, line: dict[str, Any]) -> None:
        """Write a line; a journal that cannot be written must not end the run."""
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:
            logger.warning("%s cannot be written (%s)", self.path, error.strerror or error)
            self._file = None


@dataclass
class DatasetProgress:
    """Where a dataset of a run stands: counts of chunks and of events."""

    chunks: int = 0
    events: int = 0
    unknown: int = 0
    done: int = 0
    reused: int = 0
    failed: int = 0
    retried: int = 0
    events_done: int = 0
    events_failed: int = 0
    computed: int = 0
    """Events done by this run, those reused left out."""
    seconds: float = 0.0
    """From the start of the run to its last chunk."""
    reasons: dict[str, list[str]] = field(default_factory=dict)
    """Places of failed chunks by reason."""

    def add(self, line: dict[str, Any]) -> None:
        """Take one line of the journal into account."""
        failed, reused = line["status"] == "failed", line["status"] == "reused"
        self.failed += failed
        self.done += not failed
        self.reused += reused
        self.retried += line["attempts"] > 1 and not reused
        self.events_failed += line["events"] if failed else 0
        self.events_done += 0 if failed else line["events"]
        self.computed += 0 if failed or reused else line["events"]
        if failed:
            self.reasons.setdefault(line["reason"], []).append(line["place"])


def read_progress(output: Path) -> dict[str, DatasetProgress] | None:
    """Where a run stands by its journal, by dataset; None where there is none.

    Reading while the run writes is safe: a line that is not complete yet is left out.
    """
    lines = _lines(output / FOLDER / NAME)
    try:
        first = next(lines)
        datasets = {name: DatasetProgress(**counts) for name, counts in first["planned"].items()}
        for line in lines:
            standing = datasets[line["dataset"]]
            standing.add(line)
            standing.seconds = max(standing.seconds, line["time"] - first["time"])
    except (StopIteration, FileNotFoundError, KeyError, TypeError):
        return None
    return datasets


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            try:
                yield json.loads(text)
            except ValueError:
                return
