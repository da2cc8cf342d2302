"""A look into every file of a fileset, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from multiprocessing.pool import ThreadPool
from typing import NamedTuple
from uuid import UUID

from executors.errors import root_cause
from executors.failures import kind_of
from executors.inputs.fileset import FileEntry, is_remote
from executors.inputs.opening import FileFacts, UnreadableFileError
from executors.ledger import UnknownFile
from executors.retry import RetryPolicy

__all__ = ["OPENERS", "Inspection", "SameFile", "inspect_all"]

OPENERS = 16  # files opened at once; chosen: opening waits for storage, not for this process


class SameFile(NamedTuple):
    """One file under several names: its UUID, and each dataset with the name there, in order."""

    uuid: UUID
    places: tuple[tuple[str, str], ...]


class Inspection(NamedTuple):
    """Files that can be read with what they hold, files that cannot, sentences for the report."""

    readable: list[tuple[FileEntry, FileFacts]]
    unknown: list[UnknownFile]
    notes: list[str]
    same_files: list[SameFile]


def inspect_all(
    entries: Sequence[FileEntry],
    inspect: Callable[[FileEntry], FileFacts],
    retry: RetryPolicy,
    looked: Callable[[int, int], object] | None = None,
) -> Inspection:
    """Look into every file; keep the order.

    A file that another name of the same dataset stands for already is unknown: its events would
    count twice.

    Arguments:
        entries: Files.
        inspect: Looks into a file; raises UnreadableFileError.
        retry: How often to try a file whose storage fails.
        looked: Called with the number of files looked at so far and of all files.
    """
    again: list[str] = []

    def look(entry: FileEntry) -> FileFacts | UnreadableFileError:
        try:
            facts, attempts = retry.call(lambda: inspect(entry), entry.file, _may_pass(entry))
            _check_promises(entry, facts)
        except UnreadableFileError as error:
            return error
        if attempts > 1:
            again.append(f"{entry.file} could only be opened at attempt {attempts}")
        return facts

    results = _each(look, entries, looked)
    found = Inspection([], [], [], _same_files(entries, results))
    first: dict[tuple[str, UUID], FileEntry] = {}
    for entry, result in zip(entries, results, strict=True):
        if isinstance(result, FileFacts):
            twin = first.setdefault((entry.dataset, result.uuid), entry)
            if twin is not entry:
                result = UnreadableFileError(
                    f"has the same UUID as {twin.file} ({result.uuid}): its events would "
                    "count twice; name one of them, or put them into two datasets"
                )
        if isinstance(result, UnreadableFileError):
            reason = f"{entry.file} {result}"
            found.unknown.append(
                UnknownFile(entry.dataset, entry.file, entry.tree, reason, entry.num_entries)
            )
            continue
        if result.rntuple:
            found.notes.append(
                f"{entry.file} stores {entry.tree!r} as an RNTuple: read in full, but much slower "
                "than a TTree in this version of coffea"
            )
        found.readable.append((entry, result))
    found.notes.extend(sorted(again))
    return found


def _each(
    look: Callable[[FileEntry], FileFacts | UnreadableFileError],
    entries: Sequence[FileEntry],
    looked: Callable[[int, int], object] | None,
) -> list[FileFacts | UnreadableFileError]:
    """Results of all files, in order; the first unexpected exception gives up the rest.

    Threads of this pool end with the process: nobody who gives up waits for a server.
    """
    results: dict[int, FileFacts | UnreadableFileError] = {}

    def place(numbered: tuple[int, FileEntry]) -> tuple[int, FileFacts | UnreadableFileError]:
        return numbered[0], look(numbered[1])

    with ThreadPool(min(OPENERS, len(entries))) as pool:
        for number, result in pool.imap_unordered(place, enumerate(entries)):
            results[number] = result
            if looked is not None:
                looked(len(results), len(entries))
    return [results[number] for number in range(len(entries))]


def _same_files(
    entries: Sequence[FileEntry], results: Sequence[FileFacts | UnreadableFileError]
) -> list[SameFile]:
    """Files that occur under more than one name."""
    places: dict[UUID, list[tuple[str, str]]] = {}
    for entry, result in zip(entries, results, strict=True):
        if isinstance(result, FileFacts):
            places.setdefault(result.uuid, []).append((entry.dataset, entry.file))
    return [SameFile(uuid, tuple(names)) for uuid, names in places.items() if len(names) > 1]


def _may_pass(entry: FileEntry) -> Callable[[BaseException], bool]:
    """Function that tells whether another attempt to open a file may help.

    Of a local file uproot calls damage an OSError too; what the system reports has a number.
    """
    remote = is_remote(entry.file)

    def worth_it(error: BaseException) -> bool:
        numbered = getattr(root_cause(error), "errno", None) is not None
        return kind_of(error) == "transient" and (remote or numbered)

    return worth_it


def _check_promises(entry: FileEntry, facts: FileFacts) -> None:
    """Hold what the fileset says of a file against the file."""
    if entry.uuid is not None and entry.uuid != facts.uuid:
        msg = f"has UUID {facts.uuid}, the fileset says {entry.uuid}; preprocess the fileset again"
    elif entry.num_entries is not None and entry.num_entries != facts.num_entries:
        msg = (
            f"has {facts.num_entries:,} entries in {entry.tree!r}, the fileset says "
            f"{entry.num_entries:,}; preprocess the fileset again"
        )
    elif entry.steps and entry.steps[-1][1] > facts.num_entries:
        msg = (
            f"has {facts.num_entries:,} entries in {entry.tree!r}, a step of the fileset ends at "
            f"{entry.steps[-1][1]:,}; preprocess the fileset again"
        )
    else:
        return
    raise UnreadableFileError(msg)
