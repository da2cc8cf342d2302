"""What was found in input files, kept on disk for the next run that reads them."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from time import time
from typing import Any
from uuid import UUID

import fsspec

from executors.atomic import write_atomically
from executors.inputs.fileset import FileEntry, is_remote
from executors.inputs.opening import FileFacts, inspect_file, unreadable
from executors.redaction import redact

__all__ = ["VARIABLE", "FactsCache", "cache_folder", "stamp"]

logger = logging.getLogger(__name__)
VARIABLE = "FLASHBREW_CACHE"
"""Environment variable with the folder to use instead of the user's cache directory."""
NAME = "files.json"
VERSION = 1
KEPT = 200_000  # files remembered, the last used ones; chosen, 200 bytes each
SETTLED = 5.0  # seconds since the last change of a file that is remembered; chosen: clocks of file
# systems tick in up to 2 s, a second change within one tick would not show


def cache_folder() -> Path:
    """Folder of the cache: ``$FLASHBREW_CACHE``, else one of the user's cache directory."""
    own = os.environ.get(VARIABLE)
    if own:
        return Path(own).expanduser()
    user = os.environ.get("XDG_CACHE_HOME")
    return (Path(user) if user else Path("~/.cache").expanduser()) / "flashbrew"


def stamp(entry: FileEntry) -> str | None:
    """Text that changes with a file's content, None where nothing promises that.

    Of a local file: size, times of the last change of content and of status. Behind ``root://``:
    size and time of the last change, as the server tells them. Behind ``http(s)://``: size and
    ``ETag`` or ``Last-Modified``. A file that changed just now has none.

    Raises: UnreadableFileError where a server does not answer or has no such file.
    """
    if not is_remote(entry.file):
        return _local_stamp(Path(entry.file))
    try:
        files, path = fsspec.core.url_to_fs(entry.file)
        told: dict[str, Any] = files.info(path)
    except Exception as error:
        raise unreadable(entry, error) from error
    size, changed = told.get("size"), told.get("mtime")
    mark = changed or told.get("ETag") or told.get("Last-Modified")
    young = isinstance(changed, int | float) and time() - changed < SETTLED
    return None if size is None or not mark or young else f"{size}:{mark}"


def _local_stamp(path: Path) -> str | None:
    try:
        status = path.stat()
    except OSError:
        return None  # the look itself says what is wrong
    if time() - max(status.st_mtime, status.st_ctime) < SETTLED:
        return None
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


class FactsCache:
    """Look into files that remembers what it found.

    Called with an entry it returns its facts, opening the file only where nothing is known of it
    as it is now; `save` keeps what was found. A damaged or unwritable cache costs time, nothing
    else. What authorises in a URL is not written down.

    Arguments:
        folder: Where the cache lies.
        inspect: Looks into a file.
    """

    def __init__(
        self, folder: Path, inspect: Callable[[FileEntry], FileFacts] = inspect_file
    ) -> None:
        self.path = folder / NAME
        self.known = 0
        """Files that were not opened."""
        self._inspect = inspect
        self._facts = self._read()
        self._used: dict[str, list[Any]] = {}
        self._new = False
        self._lock = threading.Lock()

    def __call__(self, entry: FileEntry) -> FileFacts:
        """What a file holds.

        Raises: UnreadableFileError.
        """
        key, mark = _key(entry), stamp(entry)
        row = self._facts.get(key)
        facts = _facts(row, mark)
        if row is None or facts is None:
            facts = self._inspect(entry)
            row = [mark, facts.num_entries, str(facts.uuid), facts.rntuple]
            with self._lock:
                self._new |= mark is not None
        else:
            with self._lock:
                self.known += 1
        if mark is not None:
            with self._lock:
                self._used[key] = row
        return facts

    def save(self) -> None:
        """Write what was found beside what others found meanwhile; the last used come last."""
        if not self._new:
            return
        files = {key: row for key, row in self._read().items() if key not in self._used}
        rows = list((files | self._used).items())[-KEPT:]
        text = json.dumps({"version": VERSION, "files": dict(rows)}, separators=(",", ":"))
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self.path, text)
        except OSError as error:
            logger.info("what input files hold could not be kept in %s: %s", self.path, error)

    def _read(self) -> dict[str, list[Any]]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if content["version"] != VERSION:
                return {}
            files: dict[str, list[Any]] = dict(content["files"])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.info("%s is of no use and will be replaced: %s", self.path, error)
            return {}
        return files


def _key(entry: FileEntry) -> str:
    return f"{redact(entry.file.partition('?')[0])}\n{entry.tree}"


def _facts(row: Any, mark: str | None) -> FileFacts | None:
    """Facts of a stored row, where it belongs to the file as it is now."""
    try:
        stored, entries, uuid, rntuple = row
        if mark is None or stored != mark:
            return None
        return FileFacts(int(entries), UUID(uuid), bool(rntuple))
    except (TypeError, ValueError):
        return None
