"""Output files of a chunk: written block by block under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import uproot

from processors.content import Content
from processors.jagged import Flat, counts_to_offsets

__all__ = ["EventWriter", "ParquetWriter", "RootWriter", "event_writer", "jagged_record"]

COMPRESSION_LEVEL = 1
"""ZSTD level; uproot's default ZLIB costs 117 µs per event on its own, this a tenth of it."""
PROVENANCE_KEY = "flashbrew"
"""Name of the JSON string beside the trees, key of the parquet metadata."""


def jagged_record(flat: Flat) -> ak.Array:
    """A collection as one jagged record array, a single branch (column ``""``) as jagged numbers.

    Nothing is copied.
    """
    offsets = ak.index.Index64(counts_to_offsets(flat.counts))
    contents = [ak.contents.NumpyArray(np.ascontiguousarray(v)) for v in flat.columns.values()]
    if list(flat.columns) == [""]:
        return ak.Array(ak.contents.ListOffsetArray(offsets, contents[0]))
    record = ak.contents.RecordArray(contents, list(flat.columns), length=len(flat))
    return ak.Array(ak.contents.ListOffsetArray(offsets, record))


class EventWriter:
    """Context in which blocks are appended; the file appears complete when it ends, or not at all.

    Arguments:
        path: Final name; the folder is made.
        provenance: Stored in the file as JSON.
    """

    def __init__(self, path: Path, provenance: Mapping[str, Any]) -> None:
        self.path = path
        self.provenance = json.dumps(provenance, sort_keys=True)
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
            if kind is None:
                _commit(self._temporary, self.path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                self._temporary.unlink()

    def extend(self, content: Content) -> None:
        """Append the events of one block; every block has the same columns."""
        raise NotImplementedError

    def add_tree(self, name: str, content: Content) -> None:
        """Store a further tree (``Runs``, ``LuminosityBlocks``)."""
        raise NotImplementedError

    def close(self) -> None:
        """Finish the temporary file."""
        raise NotImplementedError


class RootWriter(EventWriter):
    """NanoAOD-like ROOT file: TTrees with one counter per collection, ZSTD."""

    def __enter__(self) -> Self:
        super().__enter__()
        compression = uproot.ZSTD(COMPRESSION_LEVEL)
        self._file = uproot.recreate(self._temporary, compression=compression)
        self._tree: Any = None
        return self

    def extend(self, content: Content) -> None:
        """Append one block as one basket per branch."""
        arrays = _arrays(content)
        if self._tree is None:
            self._tree = self._file.mktree("Events", _types(arrays), title="Events")
        if len(next(iter(arrays.values()))):
            self._tree.extend(arrays)

    def add_tree(self, name: str, content: Content) -> None:
        """Write a small tree at once."""
        arrays = _arrays(content)
        tree = self._file.mktree(name, _types(arrays), title=name)
        tree.extend(arrays)

    def close(self) -> None:
        """Store the provenance, close the file."""
        if not self._file.closed:
            self._file[PROVENANCE_KEY] = self.provenance
            self._file.close()


class ParquetWriter(EventWriter):
    """Parquet file with one row group per block; further trees go to the file's metadata.

    Columns are those of the ROOT file, the counter of each collection included: NanoEvents needs
    it to find the collection.
    """

    def __enter__(self) -> Self:
        super().__enter__()
        self._sink: pq.ParquetWriter | None = None
        self._trees: dict[str, Any] = {}
        return self

    def extend(self, content: Content) -> None:
        """Append one block as one row group."""
        arrays = _named(_arrays(_counted(content)))
        table = ak.to_arrow_table(ak.Array(arrays), extensionarray=False)
        if self._sink is None:
            self._sink = pq.ParquetWriter(
                self._temporary, table.schema, compression="zstd", compression_level=1
            )
        self._sink.write_table(table)

    def add_tree(self, name: str, content: Content) -> None:
        """Keep the rows for the metadata."""
        self._trees[name] = ak.to_list(ak.Array(_named(_arrays(content))))

    def close(self) -> None:
        """Store provenance and trees in the metadata, close the file."""
        if self._sink is not None:
            metadata = {PROVENANCE_KEY: self.provenance}
            metadata |= {name: json.dumps(rows) for name, rows in self._trees.items()}
            self._sink.add_key_value_metadata(metadata)
            self._sink.close()
            self._sink = None


def event_writer(path: Path, kind: str, provenance: Mapping[str, Any]) -> EventWriter:
    """Writer for ``root`` or ``parquet``."""
    return {"root": RootWriter, "parquet": ParquetWriter}[kind](path, provenance)


def _arrays(content: Content) -> dict[str, Any]:
    return {
        name: jagged_record(value) if isinstance(value, Flat) else value
        for name, value in content.items()
    }


def _types(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.type.content if isinstance(value, ak.Array) else value.dtype
        for name, value in arrays.items()
    }


def _counted(content: Content) -> Content:
    """The content with the counter ``n<name>`` of every jagged column before it."""
    counted: Content = {}
    for name, value in content.items():
        if isinstance(value, Flat):
            counted[f"n{name}"] = value.counts.astype(np.int32)
        counted[name] = value
    return counted


def _named(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Columns flattened to NanoAOD branch names, as ROOT files have them."""
    named: dict[str, Any] = {}
    for name, value in arrays.items():
        fields = ak.fields(value) if isinstance(value, ak.Array) else []
        named |= {f"{name}_{f}": value[f] for f in fields} if fields else {name: value}
    return named


def _commit(temporary: Path, final: Path) -> None:
    """Make the file durable, then give it its name in one step."""
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())
    temporary.replace(final)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
