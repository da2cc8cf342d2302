"""Files of chunks joined into those that people use, and what is in which, for a resumed run."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import UUID

from coffea.processor.executor import WorkItem

from executors.atomic import write_atomically
from executors.results.joining import DRAFT, Part, Span, join
from executors.results.output import EVENT_FILE, relative_output
from executors.results.state import FOLDER
from executors.task import Accumulator

__all__ = ["MergeMode", "MergedFile", "MergedFiles", "merge_outputs"]

MergeMode = Literal["dataset", "file", "none"]
TABLE = "merged-"
logger = logging.getLogger(__name__)


class Member(NamedTuple):
    """A chunk's output inside a joined file; ``size`` is that of the file that it was."""

    size: int
    span: Span


@dataclass(frozen=True)
class MergedFile:
    """A joined file: its size, its members by path, in their order."""

    size: int
    members: Mapping[str, Member]

    @property
    def events(self) -> int:
        """Number of events."""
        return sum(stop - start for start, stop in (m.span.events for m in self.members.values()))


class MergedFiles:
    """What is in the joined files of an output directory; all paths are relative to it.

    One small file below ``state/`` lists the members of each joined file.

    Arguments:
        output: Output directory.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.files: dict[str, MergedFile] = {}
        """Joined files by path."""
        self._place: dict[str, str] = {}

    @classmethod
    def read(cls, output: Path) -> MergedFiles:
        """The joined files that are whole; one whose list is damaged counts as not there."""
        found = cls(output)
        for table in sorted((output / FOLDER).glob(f"{TABLE}*.json")):
            try:
                path, size, members = json.loads(table.read_text(encoding="utf-8"))
                inside = (output / path).resolve().is_relative_to((output / "events").resolve())
                if inside and (output / path).stat().st_size == size:
                    found._take(path, MergedFile(size, dict(map(_member, members))))
            except (OSError, ValueError, TypeError, AttributeError) as error:
                logger.warning("%s is of no use (%s)", table, error)
        return found

    def members(self) -> dict[str, int]:
        """Outputs of chunks that are in a joined file, with the sizes that they had."""
        return {name: self.files[path].members[name].size for name, path in self._place.items()}

    def place(self, name: str) -> str:
        """Where an output is: under its own name, or in a joined file.

        One that is in both was about to be removed.
        """
        return self._place.get(name, name)

    def drop_partial(self, reused: Collection[str]) -> None:
        """Forget the joined files of which not every member is reused."""
        for path, file in list(self.files.items()):
            if not set(file.members) <= set(reused):
                del self.files[path]
        self._place = {name: path for name, path in self._place.items() if path in self.files}

    def keep(self, reused: Collection[str]) -> None:
        """Forget members that are not reused; remove joined files without any, and drafts.

        The files that members were are removed too, where an interrupt left any.
        """
        tables = {_table(path) for path in self.files}
        for table in (self.output / FOLDER).glob(f"{TABLE}*.json"):
            if table.name not in tables:
                self._remove(table)
        for path, file in list(self.files.items()):
            members = {name: one for name, one in file.members.items() if name in reused}
            if len(members) < len(file.members):
                self.store(path, MergedFile(file.size, members))
            for name in members:
                (self.output / name).unlink(missing_ok=True)
        for draft in (self.output / "events").rglob(f".*{DRAFT}"):
            draft.unlink()

    def store(self, path: str, file: MergedFile) -> None:
        """List a joined file on disk; without members it is removed."""
        table = self.output / FOLDER / _table(path)
        for name in self.files.pop(path, file).members:
            if self._place.get(name) == path:
                del self._place[name]
        if file.members:
            table.parent.mkdir(exist_ok=True)
            members = [[name, *_plain(member)] for name, member in file.members.items()]
            write_atomically(table, json.dumps([path, file.size, members]))
            self._take(path, file)
        else:
            table.unlink(missing_ok=True)
            (self.output / path).unlink(missing_ok=True)

    def names(self, accumulator: Accumulator) -> dict[str, list[str]]:
        """What the chunks of each dataset wrote, by the names under which they wrote it."""
        return {
            dataset: [relative_output(path, self.output) for path in content["outputs"]]
            for dataset, content in accumulator.items()
        }

    def located(self, names: Sequence[str]) -> list[str]:
        """Files in which outputs are; a name that occurs twice does so here, a joined file once."""
        places = list(map(self.place, names))
        joined = dict.fromkeys(place for place in places if place in self.files)
        return [*joined, *(place for place in places if place not in self.files)]

    def _take(self, path: str, file: MergedFile) -> None:
        self.files[path] = file
        self._place |= dict.fromkeys(file.members, path)

    def _remove(self, table: Path) -> None:
        """Remove a list that is of no use, with the joined file that it names."""
        try:
            place = self.output / json.loads(table.read_text(encoding="utf-8"))[0]
            if place.resolve().is_relative_to((self.output / "events").resolve()):
                place.unlink(missing_ok=True)
        except (OSError, ValueError, TypeError, LookupError) as error:
            logger.warning("%s is damaged (%s)", table, error)
        table.unlink(missing_ok=True)


def merge_outputs(
    names: Mapping[str, Sequence[str]],
    items: Sequence[WorkItem],
    merged: MergedFiles,
    mode: MergeMode,
) -> dict[str, dict[str, int]]:
    """Join the event files of every dataset, one after the other.

    Files of chunks are removed when the joined file and its table of contents are written.

    Arguments:
        names: What chunks wrote, by dataset, in the order of the plan.
        items: Chunks of the plan.
        merged: Joined files that are there; brought up to date.
        mode: One file per ``dataset`` or per input ``file``.
    Returns: Files, events and chunks joined, by dataset.
    Raises: JoinError, OSError; what was joined before stays.
    """
    # what follows the "?" of a URL may be a credential
    places = {str(UUID(bytes=item.fileuuid)): item.filename.partition("?")[0] for item in items}
    sources = {uuid: Path(place).stem for uuid, place in places.items()}
    counts = {}
    for dataset, written in names.items():
        groups: dict[str, list[str]] = {}
        for name in written:
            if found := EVENT_FILE.fullmatch(name):
                target = _target(found, sources[found["uuid"]], mode)
                groups.setdefault(target, []).append(name)
        for target, group in groups.items():
            _join(target, group, merged)
        files = [merged.files[target] for target in groups]
        counts[dataset] = {
            "files": len(files),
            "events": sum(file.events for file in files),
            "chunks": sum(len(file.members) for file in files),
        }
    return counts


def _target(found: re.Match[str], source: str, mode: MergeMode) -> str:
    """Path of the joined file: that of the dataset's folder, or named after the input file."""
    folder, suffix = found["folder"], found["suffix"]
    if mode == "dataset":
        return f"{folder}{suffix}"
    return f"{folder}/{re.sub(r'[^A-Za-z0-9.+-]', '_', source)}_{found['uuid'][:8]}{suffix}"


def _join(target: str, names: list[str], merged: MergedFiles) -> None:
    """Join files, or parts of files that were joined before, into ``target``."""
    output, there = merged.output, merged.files.get(target)
    if there is not None and list(there.members) == names:
        return
    parts, sizes = [], []
    for name in names:
        place = merged.place(name)
        member = None if place == name else merged.files[place].members[name]
        parts.append(
            Part(output / name)
            if member is None
            else Part(output / place, member.span.events, member.span.rows)
        )
        sizes.append((output / name).stat().st_size if member is None else member.size)
    spans = join(output / target, parts, {"sources": _ranges(names)})
    members = dict(zip(names, map(Member, sizes, spans), strict=True))
    before = {merged.place(name) for name in names} - {target, *names}
    merged.store(target, MergedFile((output / target).stat().st_size, members))
    for name in names:
        (output / name).unlink(missing_ok=True)
    for path in before:
        file = merged.files[path]
        rest = {name: one for name, one in file.members.items() if name not in members}
        merged.store(path, MergedFile(file.size, rest))


def _ranges(names: Sequence[str]) -> dict[str, list[list[int]]]:
    """Entry ranges by UUID of the input file, those that touch made one."""
    ranges: dict[str, list[list[int]]] = {}
    for name in names:
        found = EVENT_FILE.fullmatch(name)
        if found is None:
            continue
        start, stop = int(found["start"]), int(found["stop"])
        of_file = ranges.setdefault(found["uuid"], [])
        if of_file and of_file[-1][1] == start:
            of_file[-1][1] = stop
        else:
            of_file.append([start, stop])
    return ranges


def _table(path: str) -> str:
    """Name of the list of a joined file's members."""
    return f"{TABLE}{hashlib.sha256(path.encode()).hexdigest()[:24]}.json"


def _plain(member: Member) -> list[Any]:
    return [member.size, *member.span.events, dict(member.span.rows)]


def _member(stored: Sequence[Any]) -> tuple[str, Member]:
    name, size, start, stop, rows = stored
    spans = {tree: (int(low), int(high)) for tree, (low, high) in rows.items()}
    return str(name), Member(int(size), Span((int(start), int(stop)), spans))
