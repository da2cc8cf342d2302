"""Input files that stay open from one chunk to the next."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

import fsspec
import pyarrow.parquet as pq
import uproot

from executors.inputs.fileset import is_remote
from executors.inputs.opening import TIMEOUT, parquet_facts

__all__ = ["ReplacedFileError", "close_kept_files", "kept_file"]


class ReplacedFileError(ValueError):
    """A file is not the one that was planned."""


class _Kept(NamedTuple):
    """An open file, whose it is, and what tells it from one that took its place."""

    run: str
    name: str
    version: tuple[int, ...]
    file: Any
    close: Callable[[], object]


_kept: dict[int, _Kept] = {}
"""By thread: what uproot opened is not for several of them."""


def kept_file(run: str, name: str, kind: str, planned: UUID) -> Any:
    """Open a file, or take it as this thread left it.

    Understanding the header and the tree of a NanoAOD file takes a tenth of a second to seconds,
    as long as many a chunk. A thread keeps one file, until it needs another one: also where a run
    was killed before it could close its files.

    Arguments:
        run: Whose file it is; `close_kept_files` of this run closes it.
        name: Path or URL.
        kind: ``root`` or ``parquet``.
        planned: UUID that the file had when the run was planned.
    Raises: ReplacedFileError where it has another one now; whatever says that it cannot be opened.
    """
    thread, version = threading.get_ident(), _version(name)
    kept = _kept.get(thread)
    if kept is not None and kept[:3] == (run, name, version):
        return kept.file
    _close(thread)
    found, file, close = _open(name, kind)
    if found != planned:
        close()
        msg = (
            f"{name} was replaced after the run was planned (its UUID was {planned}, it is {found} "
            "now); give the command again with --resume once the files stay as they are"
        )
        raise ReplacedFileError(msg)
    _kept[thread] = _Kept(run, name, version, file, close)
    return file


def close_kept_files(run: str, *, everywhere: bool = False) -> None:
    """Close the file that this thread keeps, or ``everywhere`` those of all threads."""
    threads = list(_kept) if everywhere else [threading.get_ident()]
    for thread in threads:
        kept = _kept.get(thread)
        if kept is not None and kept.run == run:
            _close(thread)


def _version(name: str) -> tuple[int, ...]:
    """Identity and state of a file on disk; servers are not asked.

    Raises: OSError where it is gone.
    """
    if is_remote(name):
        return ()
    found = os.stat(name)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _open(name: str, kind: str) -> tuple[UUID, Any, Callable[[], object]]:
    """UUID of a file, the open file, and what closes it."""
    if kind == "root":
        # arrays are read once: a cache of them would only take memory
        tree = uproot.open({name: None}, timeout=TIMEOUT, array_cache=None)
        return UUID(bytes=tree.file.fUUID), tree, tree.close
    identity = parquet_facts(name).uuid
    content = fsspec.open(name, "rb").open()
    return identity, pq.ParquetFile(content), content.close


def _close(thread: int) -> None:
    kept = _kept.pop(thread, None)
    if kept is not None:
        with contextlib.suppress(Exception):  # the connection may be what broke
            kept.close()
