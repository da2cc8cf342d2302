"""What one input file holds, or one sentence that says why nobody can tell."""

from __future__ import annotations

import hashlib
import io
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import fsspec
import pyarrow.parquet as pq
import uproot

from executors.errors import first_line, root_cause
from executors.failures import of_network
from executors.inputs.fileset import FileEntry, is_remote
from executors.inputs.remote import forget_connections

__all__ = ["FileFacts", "UnreadableFileError", "inspect_file", "unreadable"]

TIMEOUT = 60  # whole seconds (XRootD asks for that) to wait for a remote file, as coffea does
_TREE_CLASSES = ("TTree", "TNtuple", "TNtupleD", "TChain")
_NTUPLE_CLASSES = ("ROOT::RNTuple", "ROOT::Experimental::RNTuple")
_TREE_BASES = 4  # TNamed, TAttLine, TAttFill, TAttMarker: what precedes fEntries in a TTree
_TREE_VERSIONS = range(16, 21)  # where that holds, and fEntries is a 64-bit integer
_PARQUET = b"PAR1"  # begin and end of a parquet file
_ROOT = b"root"  # begin of a ROOT file
_SHORT = re.compile(r"expected Chunk of length (\d+),\s*received (\d+) bytes")  # uproot's words
_HAS_COUNT = 0x40000000  # flag of a byte count that precedes an object
_NO_PARTS = "comes from a server that gives whole files alone (no range requests); copy the file"
_PROTOCOLS = "read it by root:// or https://, or copy it"
_XROOTD = "needs XRootD for Python, which is not installed; pip install 'flashbrew[xrootd]'"


@dataclass(frozen=True)
class FileFacts:
    """What the plan needs to know of a file: entries of the tree, the file's UUID, its storage."""

    num_entries: int
    uuid: UUID
    rntuple: bool


class UnreadableFileError(ValueError):
    """A file cannot be planned; the message goes on where the file's name ends."""


def inspect_file(entry: FileEntry, *, timeout: int = TIMEOUT) -> FileFacts:
    """Open a file and look at its tree.

    Raises: UnreadableFileError for whatever goes wrong, with the first cause attached.
    """
    try:
        if not is_remote(entry.file):
            _check_local(Path(entry.file), entry.format)
        if entry.format == "parquet":
            return parquet_facts(entry.file)
        with uproot.open({entry.file: None}, timeout=timeout) as file:
            _check_whole(file)
            return _facts(file, entry.tree)
    except UnreadableFileError:
        raise
    except Exception as error:
        forget_connections(entry.file)
        raise unreadable(entry, error) from error


def unreadable(entry: FileEntry, error: Exception) -> UnreadableFileError:
    """What to raise ``from`` an error met while looking at a file."""
    return UnreadableFileError(_sentence(entry, error))


def _check_local(path: Path, kind: str) -> None:
    """Name what can be known without uproot."""
    if not path.exists():
        msg = "does not exist; check the name"
    elif not path.is_file():
        msg = "is not a file"
    elif not os.access(path, os.R_OK):
        msg = "may not be read by this user; check its permissions"
    elif path.stat().st_size == 0:
        msg = "is empty (0 bytes); copy it again"
    elif kind == "root" and (begin := _begin(path)) != _ROOT:
        msg = f"is not a ROOT file (first four bytes are {begin!r})"
    else:
        return
    raise UnreadableFileError(msg)


def _begin(path: Path) -> bytes:
    """First bytes of a file, as many as mark a ROOT file."""
    with path.open("rb") as file:
        return file.read(len(_ROOT))


def _check_whole(file: Any) -> None:
    """Compare the length that the header promises with the bytes that are there."""
    promised, present = file.file.fEND, file.file.source.num_bytes
    if present is not None and present < promised:
        msg = f"is cut short: {present:,} of {promised:,} bytes are there; copy it again"
        raise UnreadableFileError(msg)


def _facts(file: Any, name: str) -> FileFacts:
    """Read entries, UUID and storage of the tree ``name``."""
    classes: dict[str, str] = file.classnames(cycle=False)
    if classes.get(name) not in _TREE_CLASSES + _NTUPLE_CLASSES:
        there = [key for key, kind in classes.items() if kind in _TREE_CLASSES + _NTUPLE_CLASSES]
        holds = f"trees there: {', '.join(sorted(there))}" if there else "it holds no tree at all"
        msg = f"has no tree {name!r}; {holds}; a fileset names the tree of each file"
        raise UnreadableFileError(msg)
    uuid = UUID(bytes=file.file.fUUID)
    entries = _head_entries(file, name) if classes[name] == "TTree" else None
    if entries is None:
        entries = int(file[name].num_entries)
    return FileFacts(entries, uuid, classes[name] in _NTUPLE_CLASSES)


def parquet_facts(name: str) -> FileFacts:
    """Read the rows of a parquet file; its UUID is made of its footer, which knows each page."""
    with fsspec.open(name, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(-min(8, size), os.SEEK_END)
        end = file.read()
        length = int.from_bytes(end[:4], "little")
        if not end.endswith(_PARQUET) or length + 8 > size:
            msg = "is no whole parquet file: it has no footer at its end; copy it again"
            raise UnreadableFileError(msg)
        file.seek(-length - 8, os.SEEK_END)
        footer = file.read(length)
    try:
        rows = int(pq.read_metadata(io.BytesIO(footer + end)).num_rows)
    except Exception as error:
        said = f"{type(error).__name__}: {first_line(error)}"
        msg = f"is damaged: it cannot be read as parquet ({said})"
        raise UnreadableFileError(msg) from error
    digest = hashlib.sha256(footer + size.to_bytes(8, "little")).digest()
    return FileFacts(rows, UUID(bytes=digest[:16]), rntuple=False)


def _head_entries(file: Any, name: str) -> int | None:
    """Number of entries from the first bytes of a tree, None for a tree of another layout.

    Its branches, of which NanoAOD has up to 2,700, need not be understood for that: this takes
    milliseconds where uproot's whole tree takes a second.
    """
    chunk, cursor = file.key(name).get_uncompressed_chunk_cursor()
    content = memoryview(bytes(chunk.raw_data))
    place = cursor.index - chunk.start
    count, version = struct.unpack_from(">IH", content, place)
    if not count & _HAS_COUNT or version not in _TREE_VERSIONS:
        return None
    place += 6
    for _ in range(_TREE_BASES):
        (count,) = struct.unpack_from(">I", content, place)
        if not count & _HAS_COUNT:
            return None
        place += 4 + (count & ~_HAS_COUNT)
    (entries,) = struct.unpack_from(">q", content, place)
    return int(entries) if entries >= 0 else None


def _sentence(entry: FileEntry, error: Exception) -> str:
    """Say in one sentence why a file could not be opened."""
    cause = root_cause(error)
    said = first_line(cause)
    if "not a ROOT file" in str(error):
        return f"is not a ROOT file ({said.removeprefix('not a ROOT file: ')})"
    unknown = _protocol_problem(entry.file, error)
    if unknown is not None:
        return unknown
    short = _SHORT.search(str(cause))
    if short is not None and not is_remote(entry.file):
        return f"is cut short: {short[2]} bytes where {short[1]} should be; copy it again"
    if short is not None:
        said = f"{short[2]} of {short[1]} bytes came"
    if isinstance(error, OSError) or of_network(cause):
        return f"could not be opened ({type(cause).__name__}: {said})"
    if entry.file.startswith(("http://", "https://")) and _gives_no_parts(entry.file):
        return _NO_PARTS
    return f"is damaged: its tree {entry.tree!r} cannot be read ({type(cause).__name__}: {said})"


def _protocol_problem(name: str, error: Exception) -> str | None:
    """What is missing to read by the protocol of a URL at all, None where nothing is."""
    if not is_remote(name):
        return None
    protocol = name.partition("://")[0]
    if isinstance(error, ImportError):
        if protocol == "root":
            return _XROOTD
        missing = getattr(root_cause(error), "name", None) or "a package"
        return f"needs {missing} for {protocol}://, which is not installed; {_PROTOCOLS}"
    if isinstance(error, ValueError) and "Protocol not known" in str(error):
        return f"cannot be read by {protocol}://; {_PROTOCOLS}"
    return None


def _gives_no_parts(url: str) -> bool:
    """Whether a web server answers the request for four bytes with another number of them."""
    try:
        files, path = fsspec.core.url_to_fs(url)
        return len(files.cat_file(path, start=0, end=4)) != 4
    except Exception:
        return False  # it does not answer at all: another complaint
