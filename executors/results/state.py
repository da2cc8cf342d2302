"""Results of finished chunks on disk, so that a run can be resumed.

One file per chunk below ``state/``: arrays without pickle and a JSON header that says to which run
and which chunk they belong, with a digest over everything. A file is complete or not there.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import numpy as np
from coffea.processor.executor import WorkItem
from numpy.lib import format as npy

from executors.errors import first_line
from executors.inputs.fileset import is_remote
from executors.ledger import ChunkRecord, ErrorLink
from executors.results.output import relative_output
from executors.results.packing import UnpackableError, pack, unpack

__all__ = [
    "FOLDER",
    "DamagedStateError",
    "OutputFile",
    "RunIdentity",
    "StaleStateError",
    "StateStore",
    "StoredChunk",
]

FOLDER = "state"
VERSION = 2
LEVEL = 1  # of zlib; chosen: level 6 takes three times as long for 10% less
SMALL = 4096  # bytes of an array that are not worth compressing: a block of the disk
_DIGEST = "sha256"


class DamagedStateError(ValueError):
    """A state file is not what was written; the chunk must be computed again."""


class StaleStateError(ValueError):
    """A state file belongs to another run; ``differs`` names in what."""

    def __init__(self, differs: tuple[str, ...]) -> None:
        super().__init__(f"stored by a run with another {', '.join(differs)}")
        self.differs = differs


@dataclass(frozen=True)
class RunIdentity:
    """All that the result of a chunk depends on, beside the chunk.

    ``parts`` are short texts or digests by name: processor, configuration, bundles, seed, ...
    """

    parts: Mapping[str, str]

    @property
    def digest(self) -> str:
        """One digest over all parts."""
        return _digest(dict(self.parts))

    def differences(self, other: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the parts in which a stored identity differs, with both values where short."""
        names = sorted({*self.parts, *other})
        return tuple(
            _difference(name, other.get(name), self.parts.get(name))
            for name in names
            if other.get(name) != self.parts.get(name)
        )


class OutputFile(NamedTuple):
    """An output of a chunk: path relative to the output directory, size in bytes."""

    path: str
    size: int


class StoredChunk(NamedTuple):
    """What a state file holds; ``accumulator`` lists outputs relative to the output directory."""

    record: ChunkRecord
    outputs: tuple[OutputFile, ...]
    accumulator: dict[str, Any]


@dataclass(frozen=True)
class StateStore:
    """State files of one output directory for one run; small when pickled.

    Arguments:
        output: Output directory, as client and workers see it.
        identity: What the results depend on.
        run: Tells results of this run from those of earlier ones.
    """

    output: Path
    identity: RunIdentity
    run: str = field(default_factory=lambda: uuid4().hex, compare=False)

    @property
    def folder(self) -> Path:
        """Folder of the state files."""
        return self.output / FOLDER

    def path(self, item: WorkItem) -> Path:
        """File of a chunk; its name depends on the chunk alone, so a later run replaces it."""
        return self.folder / f"{_digest(_chunk(item))[:32]}.npz"

    def save(self, item: WorkItem, record: ChunkRecord, accumulator: dict[str, Any]) -> str:
        """Store the result of a chunk; return why it could not be stored, empty where it was."""
        path = self.path(item)
        draft = path.with_name(f".{path.name}.{uuid4().hex}")
        try:
            content = self._encode(item, record, accumulator)
            # no fsync: what a power cut damages is found by its digest, computed again
            try:
                draft.write_bytes(content)
            except FileNotFoundError:
                path.parent.mkdir(exist_ok=True)
                draft.write_bytes(content)
            draft.replace(path)
        except (OSError, UnpackableError) as error:
            draft.unlink(missing_ok=True)
            return f"{type(error).__name__}: {first_line(error)}"
        return ""

    def load(self, item: WorkItem) -> StoredChunk | None:
        """Result of a chunk as this run would compute it, None where none is stored.

        Raises: StaleStateError, DamagedStateError.
        """
        with self._damage(item):
            found = self._read(item)
            return found and StoredChunk(*found[0], unpack(*found[1:]))

    def read(self, item: WorkItem) -> dict[str, Any]:
        """Accumulator of a stored chunk.

        Raises: FileNotFoundError where there is none, StaleStateError, DamagedStateError.
        """
        found = self.load(item)
        if found is None:
            msg = "its stored result is gone"
            raise FileNotFoundError(msg)
        return found.accumulator

    def recall(self, item: WorkItem) -> StoredChunk | None:
        """Result of a chunk that this very run has stored, None otherwise."""
        try:
            with self._damage(item):
                found = self._read(item, self.run)
                return found and StoredChunk(*found[0], unpack(*found[1:]))
        except (StaleStateError, DamagedStateError):
            return None

    def inspect(self, item: WorkItem) -> tuple[ChunkRecord, tuple[OutputFile, ...]] | None:
        """Record and outputs of a stored chunk, its digest checked; otherwise like `load`."""
        with self._damage(item):
            found = self._read(item)
            return found and found[0]

    def clear(self, keep: Collection[Path] = ()) -> None:
        """Remove state files that are not in ``keep``."""
        for path in list(self.files()):
            if path not in keep:
                path.unlink(missing_ok=True)

    def files(self) -> Iterator[Path]:
        """All state files, those of other runs and drafts included."""
        yield from sorted(self.folder.glob("*.npz"))
        yield from sorted(self.folder.glob(".*.npz.*"))

    def _read(
        self, item: WorkItem, run: str | None = None
    ) -> tuple[tuple[ChunkRecord, tuple[OutputFile, ...]], Any, dict[str, np.ndarray]] | None:
        """Record and outputs, tree, arrays of a state file, of one ``run`` or any."""
        try:
            content = self.path(item).read_bytes()
        except FileNotFoundError:
            return None
        header, arrays = _decode(content)
        if header["version"] != VERSION or header["chunk"] != _chunk(item):
            msg = "it is of another version or another chunk"
            raise ValueError(msg)
        if run not in (None, header["run"]):
            return None
        differs = self.identity.differences(header["identity"])
        if differs:
            raise StaleStateError(differs)
        errors = tuple(ErrorLink(*link) for link in header["record"].pop("errors"))
        record = ChunkRecord(**header["record"], errors=errors)
        outputs = tuple(OutputFile(*file) for file in header["outputs"])
        return (record, outputs), header["tree"], arrays

    @contextmanager
    def _damage(self, item: WorkItem) -> Iterator[None]:
        """Whatever goes wrong while a file is read means that it is damaged."""
        try:
            yield
        except StaleStateError:
            raise
        except Exception as error:
            msg = f"{self.path(item)} is damaged ({type(error).__name__}: {first_line(error)})"
            raise DamagedStateError(msg) from error

    def _encode(self, item: WorkItem, record: ChunkRecord, accumulator: dict[str, Any]) -> bytes:
        content = {
            name: section
            | {"outputs": [relative_output(path, self.output) for path in section["outputs"]]}
            for name, section in accumulator.items()
        }
        outputs = [
            OutputFile(path, (self.output / path).stat().st_size)
            for section in content.values()
            for path in section["outputs"]
            if not is_remote(path)
        ]
        tree, arrays = pack(content)
        header = {
            "version": VERSION,
            "run": self.run,
            "identity": dict(self.identity.parts),
            "chunk": _chunk(item),
            "record": vars(record),
            "outputs": outputs,
            "arrays": list(arrays),
            "tree": tree,
        }
        return _encode(header, arrays)


def _encode(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """A compressed npz: ``header`` (JSON), one array per type, the digest of them all."""
    text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    members = {"header": text} | {f"data{i}": part for i, part in enumerate(arrays.values())}
    members[_DIGEST] = _checksum(members)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compresslevel=LEVEL) as archive:
        for name, array in members.items():
            kind = zipfile.ZIP_DEFLATED if array.nbytes > SMALL else zipfile.ZIP_STORED
            archive.writestr(f"{name}.npy", _npy(array), kind)
    return buffer.getvalue()


def _npy(array: np.ndarray) -> bytes:
    """A flat array as NumPy writes it to a file of its own."""
    content = io.BytesIO()
    npy.write_array(content, array, allow_pickle=False)
    return content.getvalue()


def _decode(content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        members = {name: archive[name] for name in archive.files}
    stored = members.pop(_DIGEST)
    if not np.array_equal(stored, _checksum(members)):
        msg = "its digest is another"
        raise ValueError(msg)
    header = json.loads(members.pop("header").tobytes())
    return header, {kind: members[f"data{i}"] for i, kind in enumerate(header["arrays"])}


def _checksum(members: Mapping[str, np.ndarray]) -> np.ndarray:
    digest = hashlib.sha256()
    for name, array in members.items():
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return np.frombuffer(digest.digest(), dtype=np.uint8)


def _chunk(item: WorkItem) -> dict[str, Any]:
    """What identifies a chunk, in plain JSON: never the file's name."""
    described = {
        "dataset": item.dataset,
        "uuid": str(UUID(bytes=item.fileuuid)),
        "tree": item.treename,
        "start": int(item.entrystart),
        "stop": int(item.entrystop),
        "metadata": dict(item.usermeta or {}),
    }
    plain: dict[str, Any] = json.loads(json.dumps(described, sort_keys=True, default=str))
    return plain


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _difference(name: str, stored: Any, wanted: Any) -> str:
    short = all(len(str(value)) <= 24 for value in (stored, wanted))
    return f"{name} ({stored}, now {wanted})" if short else name
