"""Event files read and written in portions: ROOT, parquet.

A source gives events in portions and the small trees beside them; a sink takes them and puts those
of small files together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot

__all__ = ["FORMATS", "Content", "JoinError"]

EVENTS = "Events"
OTHERS = ("Runs", "LuminosityBlocks")  # trees that a parquet file keeps in its metadata
PROVENANCE = "flashbrew"  # JSON text beside the trees, key of the parquet metadata
PORTION = 32 * 2**20  # bytes of uncompressed events held at a time; chosen
COMPRESSION_LEVEL = 1  # of ZSTD, as for the files of chunks


class JoinError(ValueError):
    """Files cannot be joined; the message says which and why."""


class Content(NamedTuple):
    """Columns of one tree by name, with the number of their rows."""

    columns: dict[str, Any]
    rows: int


class RootSource:
    """A ROOT file to read from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = uproot.open(path)
        self._classes = self._file.classnames(cycle=False, recursive=False)

    def __enter__(self) -> RootSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def provenance(self) -> dict[str, Any]:
        """What the file says of its making."""
        told: dict[str, Any] = json.loads(self._file[PROVENANCE]) if self._has() else {}
        return told

    def _has(self) -> bool:
        return bool(self._classes.get(PROVENANCE) == "TObjString")

    def events(self, span: tuple[int, int] | None) -> Iterator[Content]:
        """Events in portions, at least one (perhaps empty) portion."""
        if EVENTS not in self._classes:
            return
        tree = self._file[EVENTS]
        start, stop = span or (0, tree.num_entries)
        size = max(tree.uncompressed_bytes / max(tree.num_entries, 1), 1.0)
        step = max(int(PORTION / size), 1)
        for low in range(start, max(stop, start + 1), step):
            yield self._read(tree, low, min(low + step, stop))

    def others(self, spans: Mapping[str, tuple[int, int]] | None) -> dict[str, Content]:
        """The other trees, whole or the rows asked for."""
        found = {}
        for name, kind in self._classes.items():
            if kind == "TTree" and name != EVENTS:
                tree = self._file[name]
                whole = (0, int(tree.num_entries))
                found[name] = self._read(tree, *_rows(name, spans, whole))
        return found

    def _read(self, tree: Any, start: int, stop: int) -> Content:
        """Columns as they are written: collections as jagged records, by their counter."""
        arrays = tree.arrays(entry_start=start, entry_stop=stop, library="ak")
        counted: dict[str, dict[str, Any]] = {}
        for branch in tree.branches:
            if branch.count_branch is not None:
                counter = branch.count_branch.name
                inner = _field(branch.name, counter.removeprefix("n"))
                if inner is None or not counter.startswith("n"):
                    msg = f"{self.path}: {branch.name}, counted by {counter}, fits no collection"
                    raise JoinError(msg)
                counted.setdefault(counter, {})[inner] = arrays[branch.name]
        columns: dict[str, Any] = {}
        for branch in tree.branches:
            fields = counted.get(branch.name)
            if fields is not None:
                collection = branch.name.removeprefix("n")
                columns[collection] = fields.get("") if "" in fields else ak.zip(fields)
            elif branch.count_branch is None:
                columns[branch.name] = ak.to_numpy(arrays[branch.name])
        return Content(columns, stop - start)


class RootSink:
    """A ROOT file that grows by portions."""

    def __init__(self, path: Path) -> None:
        self._file = uproot.recreate(path, compression=uproot.ZSTD(COMPRESSION_LEVEL))
        self._tree: Any = None
        self._waiting: list[Content] = []
        self._bytes = 0

    def __enter__(self) -> RootSink:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @staticmethod
    def open(path: Path) -> RootSource:
        """File to read from."""
        return RootSource(path)

    @staticmethod
    def count(path: Path) -> int:
        """Number of events."""
        with uproot.open(path) as file:
            entries: int = file[EVENTS].num_entries if EVENTS in file else 0
        return entries

    def extend(self, content: Content, path: Path) -> None:
        """Append events; those of small files go to one basket together."""
        if self._tree is None:
            self._make(content)
        if {k: _kind(v) for k, v in content.columns.items()} != self._kinds:
            names = {k for k, v in content.columns.items() if self._kinds.get(k) != _kind(v)}
            names |= set(self._kinds) - set(content.columns)
            msg = f"{path} differs from the files before it in {', '.join(sorted(names))}"
            raise JoinError(msg)
        self._waiting.append(content)
        self._bytes += sum(one.nbytes for one in content.columns.values())
        if self._bytes >= PORTION:
            self._flush()

    def add(self, name: str, contents: Sequence[Content]) -> None:
        """Write a small tree at once."""
        columns = _concatenated(contents, name)
        self._file.mktree(name, _types(columns), title=name).extend(columns)

    def finish(self, provenance: Mapping[str, Any]) -> None:
        """Write what waits, and the provenance."""
        self._flush()
        self._file[PROVENANCE] = json.dumps(provenance, sort_keys=True)

    def _make(self, content: Content) -> None:
        self._kinds = {name: _kind(array) for name, array in content.columns.items()}
        self._tree = self._file.mktree(EVENTS, _types(content.columns), title=EVENTS)

    def _flush(self) -> None:
        filled = [one for one in self._waiting if one.rows]
        if filled:
            self._tree.extend(_concatenated(filled, EVENTS))
        self._waiting, self._bytes = [], 0


class ParquetSource:
    """A parquet file to read from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = pq.ParquetFile(path)
        self._metadata = {
            key.decode(): value for key, value in (self._file.metadata.metadata or {}).items()
        }

    def __enter__(self) -> ParquetSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def provenance(self) -> dict[str, Any]:
        """What the file says of its making."""
        told: dict[str, Any] = json.loads(self._metadata.get(PROVENANCE, b"{}"))
        return told

    def events(self, span: tuple[int, int] | None) -> Iterator[Content]:
        """Events by row group."""
        start, stop = span or (0, self._file.metadata.num_rows)
        low = 0
        for group in range(self._file.num_row_groups):
            high = low + self._file.metadata.row_group(group).num_rows
            if high > start and low < stop:
                table = self._file.read_row_group(group)
                table = table.slice(max(start - low, 0), min(stop, high) - max(start, low))
                yield Content({"": table}, len(table))
            low = high
        if not self._file.num_row_groups:
            yield Content({"": self._file.schema_arrow.empty_table()}, 0)

    def others(self, spans: Mapping[str, tuple[int, int]] | None) -> dict[str, Content]:
        """Rows of small trees, from the metadata."""
        found = {}
        for name in OTHERS:
            if name in self._metadata:
                rows = json.loads(self._metadata[name])
                rows = rows[slice(*_rows(name, spans, (0, len(rows))))]
                found[name] = Content({"": rows}, len(rows))
        return found


class ParquetSink:
    """A parquet file that grows by row groups."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sink: Any = None
        self._schema: Any = None
        self._waiting: list[Any] = []
        self._bytes = 0
        self._metadata: dict[str, str] = {}

    def __enter__(self) -> ParquetSink:
        return self

    def __exit__(self, *_: object) -> None:
        if self._sink is not None:
            self._sink.close()

    @staticmethod
    def open(path: Path) -> ParquetSource:
        """File to read from."""
        return ParquetSource(path)

    @staticmethod
    def count(path: Path) -> int:
        """Number of events."""
        rows: int = pq.read_metadata(path).num_rows
        return rows

    def extend(self, content: Content, path: Path) -> None:
        """Append events; those of small files go to one row group together."""
        table = content.columns[""].replace_schema_metadata(None)
        if self._sink is None:
            self._schema = table.schema
            self._sink = pq.ParquetWriter(
                self._path, table.schema, compression="zstd", compression_level=COMPRESSION_LEVEL
            )
        if not table.schema.equals(self._schema):
            names = set(map(str, table.schema)) ^ set(map(str, self._schema))
            msg = f"{path} differs from the files before it in {', '.join(sorted(names))}"
            raise JoinError(msg)
        self._waiting.append(table)
        self._bytes += table.nbytes
        if self._bytes >= PORTION:
            self._flush()

    def add(self, name: str, contents: Sequence[Content]) -> None:
        """Keep the rows of a small tree for the metadata."""
        self._metadata[name] = json.dumps([row for one in contents for row in one.columns[""]])

    def finish(self, provenance: Mapping[str, Any]) -> None:
        """Write what waits, and the metadata."""
        self._flush()
        if self._sink is not None:
            text = json.dumps(provenance, sort_keys=True)
            self._sink.add_key_value_metadata({PROVENANCE: text, **self._metadata})

    def _flush(self) -> None:
        if self._waiting:
            self._sink.write_table(pa.concat_tables(self._waiting).combine_chunks())
        self._waiting, self._bytes = [], 0


FORMATS: dict[str, Any] = {".root": RootSink, ".parquet": ParquetSink}
"""What writes files of a suffix; its ``open`` reads them."""


def _field(branch: str, collection: str) -> str | None:
    """Name of a branch inside its collection, empty for one that is the collection."""
    if branch == collection:
        return ""
    inner = branch.removeprefix(f"{collection}_")
    return None if inner == branch else inner


def _rows(
    name: str, spans: Mapping[str, tuple[int, int]] | None, whole: tuple[int, int]
) -> tuple[int, int]:
    """Rows of a tree to read."""
    return whole if spans is None else spans.get(name, (0, 0))


def _kind(array: Any) -> str:
    """Type of the elements of a column."""
    return str(array.type.content if isinstance(array, ak.Array) else array.dtype)


def _types(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: array.type.content
        if isinstance(array, ak.Array)
        else np.dtype((array.dtype, array.shape[1:]))
        for name, array in columns.items()
    }


def _concatenated(contents: Sequence[Content], name: str) -> dict[str, Any]:
    """Columns of several portions, one after the other.

    Raises: JoinError where they do not have the same columns.
    """
    first = contents[0].columns
    for one in contents:
        differs = set(first) ^ set(one.columns)
        if differs:
            msg = f"the files' trees {name!r} differ in {', '.join(sorted(differs))}"
            raise JoinError(msg)
    if len(contents) == 1:
        return dict(first)
    return {
        column: ak.concatenate([one.columns[column] for one in contents])
        if isinstance(first[column], ak.Array)
        else np.concatenate([one.columns[column] for one in contents])
        for column in first
    }
