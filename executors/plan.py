"""Plan of a run: exact chunks of every file that opens, a reason for every file that does not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coffea.processor.executor import WorkItem

from executors.errors import ConfigurationError
from executors.inputs.fileset import FileEntry
from executors.inputs.inspection import SameFile, inspect_all
from executors.inputs.opening import FileFacts, inspect_file
from executors.ledger import UnknownFile
from executors.retry import RetryPolicy

__all__ = ["Limits", "Plan", "automatic_chunk_size", "plan_fileset", "split"]

MAX_CHUNK, MIN_CHUNK, AIM = (
    100_000,
    500,
    32,
)  # events, events, chunks; 100k as in coffea, rest chosen
TEST_CHUNK, TEST_CHUNKS = 1_000, 2  # chosen: a test run takes seconds


_Ranges = tuple[FileEntry, FileFacts, tuple[tuple[int, int], ...]]


@dataclass(frozen=True)
class Limits:
    """How much of each dataset to plan; None means all of it.

    Raises: ConfigurationError for a limit below one.
    """

    max_files: int | None = None
    max_chunks: int | None = None

    def __post_init__(self) -> None:
        for option, value in (("--max-files", self.max_files), ("--max-chunks", self.max_chunks)):
            if value is not None and value < 1:
                msg = f"{option} must be at least 1, found {value}"
                raise ConfigurationError(msg)


@dataclass(frozen=True)
class Plan:
    """Chunks in the order in which their results will be merged.

    ``fileset_hash`` is the sha256 of what will be read (dataset, UUID, tree, entry ranges), never
    of paths: a copied or renamed file keeps it.
    """

    items: list[WorkItem]
    unknown: tuple[UnknownFile, ...]
    chunk_size: int
    fileset_hash: str
    files: dict[str, int]
    notes: tuple[str, ...] = field(default=())
    partial: frozenset[str] = field(default=frozenset())
    """Datasets of which some file was planned in part, or not at all though it opened."""
    same_files: tuple[SameFile, ...] = field(default=())
    """Files of one UUID under several names, in one dataset or in several."""
    duplicates: Mapping[str, Any] | None = field(default=None)
    """What `executors.duplicates` found, None where nobody asked."""

    @classmethod
    def nothing(cls) -> Plan:
        """Plan of a run that ended before it had one."""
        return cls(items=[], unknown=(), chunk_size=0, fileset_hash="", files={})

    @property
    def events(self) -> int:
        """Number of planned events."""
        return sum(len(item) for item in self.items)

    @property
    def datasets(self) -> list[str]:
        """Names of all datasets, those without a readable file included."""
        return list(self.files)


def plan_fileset(
    entries: Sequence[FileEntry],
    *,
    chunk_size: int | None = None,
    limits: Limits | None = None,
    test: bool = False,
    inspect: Callable[[FileEntry], FileFacts] = inspect_file,
    retry: RetryPolicy | None = None,
    looked: Callable[[int, int], object] | None = None,
) -> Plan:
    """Open every file and cut its entries into chunks.

    Arguments:
        entries: Files in order; the plan keeps it.
        chunk_size: Events per chunk, exactly (only the last chunk of a range is shorter);
            None chooses one from the fileset alone, see `automatic_chunk_size`.
        limits: Files and chunks per dataset.
        test: One file and two chunks of at most 1,000 events per dataset.
        inspect: Looks into a file; raises UnreadableFileError.
        retry: How often to try a file whose storage fails; three times if None.
        looked: Called with the number of files looked at so far and of all files.
    Raises: ConfigurationError for a chunk size below one or an empty fileset.
    """
    limits = limits or Limits()
    if chunk_size is not None and chunk_size < 1:
        msg = f"--chunksize must be at least 1 event, found {chunk_size}"
        raise ConfigurationError(msg)
    if not entries:
        msg = "the fileset names no file"
        raise ConfigurationError(msg)
    if test:
        limits = Limits(limits.max_files or 1, limits.max_chunks or TEST_CHUNKS)
        chunk_size = chunk_size or TEST_CHUNK
    entries = _first_files(entries, limits.max_files)
    found = inspect_all(entries, inspect, retry or RetryPolicy(), looked)
    ranges = [(entry, facts, _ranges(entry, facts)) for entry, facts in found.readable]
    notes = [*found.notes, *_notes_of_steps(ranges)]
    total = sum(stop - start for _, _, parts in ranges for start, stop in parts)
    chunk_size = chunk_size or automatic_chunk_size(total)
    files = dict.fromkeys(entry.dataset for entry in entries)
    items = list(_items(ranges, chunk_size, limits.max_chunks))
    partial = _partial(ranges, items)
    notes += [_note_of_parts(name, parts) for name, parts in partial.items()]
    return Plan(
        items=items,
        unknown=tuple(found.unknown),
        chunk_size=chunk_size,
        fileset_hash=_hash(ranges, found.unknown),
        files={name: sum(entry.dataset == name for entry in entries) for name in files},
        notes=tuple(notes),
        partial=frozenset(partial),
        same_files=tuple(found.same_files),
    )


def automatic_chunk_size(events: int) -> int:
    """Events per chunk where nobody asked: about 32 chunks, of 500 to 100,000 events.

    It depends on the fileset alone, so the same command plans the same chunks on any machine.

    Example:
        >>> automatic_chunk_size(2_000), automatic_chunk_size(64_000), automatic_chunk_size(10**9)
        (500, 2000, 100000)
    """
    return min(max(-(-events // AIM), MIN_CHUNK), MAX_CHUNK)


def split(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut ``[start, stop)`` into ranges of exactly ``size`` and a rest; an empty range stays one.

    Example:
        >>> list(split(0, 250, 100)), list(split(0, 0, 100))
        ([(0, 100), (100, 200), (200, 250)], [(0, 0)])
    """
    if start == stop:
        yield start, stop
    for low in range(start, stop, size):
        yield low, min(low + size, stop)


def _first_files(entries: Sequence[FileEntry], limit: int | None) -> list[FileEntry]:
    """Keep the first ``limit`` files of each dataset."""
    kept: list[FileEntry] = []
    count: dict[str, int] = {}
    for entry in entries:
        count[entry.dataset] = count.get(entry.dataset, 0) + 1
        if limit is None or count[entry.dataset] <= limit:
            kept.append(entry)
    return kept


def _ranges(entry: FileEntry, facts: FileFacts) -> tuple[tuple[int, int], ...]:
    """Entry ranges to read: the fileset's steps that hold entries, else the whole tree.

    An empty tree has one empty range: its file still holds what lies beside the events.
    """
    if entry.steps is None or not facts.num_entries:
        return ((0, facts.num_entries),)
    return tuple((start, stop) for start, stop in entry.steps if start < stop)


def _notes_of_steps(ranges: Iterable[_Ranges]) -> list[str]:
    """Name the files whose steps hold no entry, wholly or in places."""
    notes = []
    for entry, facts, parts in ranges:
        if entry.steps is None or not facts.num_entries:
            continue
        empty = [list(step) for step in entry.steps if step[0] == step[1]]
        if not parts:
            notes.append(f"{entry.file}: its steps hold no entry, nothing of it is read")
        elif empty:
            notes.append(f"{entry.file}: steps without an entry are left out: {empty}")
    return notes


def _partial(
    ranges: Iterable[_Ranges], items: Iterable[WorkItem]
) -> dict[str, list[tuple[str, int, int]]]:
    """Files of which not every entry is planned: name, planned, all entries, by dataset."""
    planned: dict[tuple[str, bytes], int] = {}
    for item in items:
        key = item.dataset, item.fileuuid
        planned[key] = planned.get(key, 0) + len(item)
    partial: dict[str, list[tuple[str, int, int]]] = {}
    for entry, facts, _ in ranges:
        entries = planned.get((entry.dataset, facts.uuid.bytes))
        if entries != facts.num_entries:
            row = (entry.file, entries or 0, facts.num_entries)
            partial.setdefault(entry.dataset, []).append(row)
    return partial


def _note_of_parts(dataset: str, parts: Sequence[tuple[str, int, int]]) -> str:
    file, planned, entries = parts[0]
    more = f" and {len(parts) - 1} more files" if len(parts) > 1 else ""
    found = f"{planned:,} of {entries:,} entries of {file}{more}"
    return f"dataset {dataset!r} is read in part: {found}"


def _items(
    ranges: Iterable[_Ranges],
    chunk_size: int,
    max_chunks: int | None,
) -> Iterator[WorkItem]:
    """Cut all ranges, at most ``max_chunks`` per dataset."""
    count: dict[str, int] = {}
    for entry, facts, parts in ranges:
        for start, stop in (chunk for part in parts for chunk in split(*part, chunk_size)):
            count[entry.dataset] = count.get(entry.dataset, 0) + 1
            if max_chunks is not None and count[entry.dataset] > max_chunks:
                break
            yield WorkItem(
                entry.dataset,
                entry.file,
                entry.tree,
                start,
                stop,
                facts.uuid.bytes,
                dict(entry.metadata),
                entry.preload,
            )


def _hash(
    ranges: Iterable[_Ranges],
    unknown: Iterable[UnknownFile],
) -> str:
    """Digest of what a fileset holds, whatever its files are called."""
    content = {
        "files": sorted([e.dataset, str(f.uuid), e.tree, *map(list, p)] for e, f, p in ranges),
        "unknown": sorted([file.dataset, file.tree] for file in unknown),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
