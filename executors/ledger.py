"""Account of a run: every planned chunk ends done or failed, every unopened file is named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

__all__ = ["ChunkRecord", "ErrorLink", "FailureKind", "Ledger", "Tally", "UnknownFile"]

FailureKind = Literal["transient", "permanent", "lost", "interrupted"]


class ErrorLink(NamedTuple):
    """One exception of a chain: its type's name and its message."""

    type: str
    message: str


@dataclass(frozen=True)
class ChunkRecord:
    """What became of one chunk.

    ``errors`` is the exception chain, outermost first, empty for a done chunk. ``failure`` is
    ``transient`` (input/output, worth another attempt), ``permanent`` (the same again), ``lost``
    (the worker died), ``interrupted`` (never ran to its end), or None for a done chunk.
    ``recovered`` is the reason of the last attempt that failed before a good one; ``reused`` says
    that the result is that of an earlier run.
    """

    dataset: str
    file: str
    uuid: str
    tree: str
    start: int
    stop: int
    status: Literal["done", "failed"]
    attempts: int = 1
    errors: tuple[ErrorLink, ...] = ()
    failure: FailureKind | None = None
    host: str = ""
    seconds: float = 0.0
    recovered: str = ""
    reused: bool = False

    @property
    def events(self) -> int:
        """Number of entries in the chunk."""
        return self.stop - self.start

    @property
    def key(self) -> tuple[str, str, str, int, int]:
        """Identity of the chunk, whatever the file is called."""
        return self.dataset, self.uuid, self.tree, self.start, self.stop

    @property
    def reason(self) -> str:
        """The error that started the failure, in one line; empty for a done chunk."""
        if not self.errors:
            return ""
        root = self.errors[-1]
        line = root.message.strip().splitlines()
        return f"{root.type}: {line[0]}" if line else root.type


@dataclass(frozen=True)
class UnknownFile:
    """A file that could not be planned; ``events`` is what the fileset says it holds, or None."""

    dataset: str
    file: str
    tree: str
    reason: str
    events: int | None = None


class Tally(NamedTuple):
    """Counts of chunks and of their events; planned = done + failed, done includes reused."""

    chunks_planned: int
    chunks_done: int
    chunks_failed: int
    chunks_retried: int
    events_planned: int
    events_done: int
    events_failed: int
    files_unknown: int
    chunks_reused: int = 0
    events_reused: int = 0


@dataclass(frozen=True)
class Ledger:
    """Records of chunks, in plan order, with the files that never opened; ledgers add.

    Raises: ValueError where one chunk is recorded twice.
    """

    records: tuple[ChunkRecord, ...] = ()
    unknown: tuple[UnknownFile, ...] = ()

    def __post_init__(self) -> None:
        seen: set[tuple[str, str, str, int, int]] = set()
        for record in self.records:
            if record.key in seen:
                msg = (
                    f"chunk {record.start}-{record.stop} of {record.file} is recorded twice in "
                    f"dataset {record.dataset!r}; its events would count twice"
                )
                raise ValueError(msg)
            seen.add(record.key)

    def __add__(self, other: Ledger) -> Ledger:
        return Ledger(self.records + other.records, self.unknown + other.unknown)

    @property
    def datasets(self) -> list[str]:
        """Names of all datasets, in the order they were planned."""
        names = [record.dataset for record in self.records]
        names += [file.dataset for file in self.unknown]
        return list(dict.fromkeys(names))

    @property
    def failed(self) -> list[ChunkRecord]:
        """Records of the failed chunks."""
        return [record for record in self.records if record.status == "failed"]

    def of(self, dataset: str) -> Ledger:
        """The part of one dataset."""
        return Ledger(
            tuple(record for record in self.records if record.dataset == dataset),
            tuple(file for file in self.unknown if file.dataset == dataset),
        )

    def tally(self) -> Tally:
        """Count chunks, events and unknown files."""
        done = [record for record in self.records if record.status == "done"]
        failed, reused = self.failed, [record for record in done if record.reused]
        return Tally(
            chunks_planned=len(self.records),
            chunks_done=len(done),
            chunks_failed=len(failed),
            chunks_retried=sum(
                record.attempts > 1 and not record.reused for record in self.records
            ),
            events_planned=_events(self.records),
            events_done=_events(done),
            events_failed=_events(failed),
            files_unknown=len(self.unknown),
            chunks_reused=len(reused),
            events_reused=_events(reused),
        )

    def failed_fraction(self) -> float:
        """Fraction of the planned work that is missing; an unknown file counts as one chunk."""
        tally = self.tally()
        planned = tally.chunks_planned + tally.files_unknown
        return (tally.chunks_failed + tally.files_unknown) / planned if planned else 0.0


def _events(records: Iterable[ChunkRecord]) -> int:
    return sum(record.events for record in records)
