"""Results of a run copied to an XRootD server: checked by size, complete or not there."""

from __future__ import annotations

import importlib
import os
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from executors.errors import ConfigurationError, first_line
from executors.failures import kind_of
from executors.redaction import redact
from executors.retry import RetryPolicy

__all__ = ["Copied", "Destination", "results_of"]

STREAMS = 4  # files copied at once; chosen: a server's disk is seldom one
TIMEOUT = 60  # whole seconds that a request may take


class Copied(NamedTuple):
    """What was copied, and the files that were not, with the reason."""

    files: int
    size: int
    failed: list[tuple[str, str]]


class _Stop:
    """What XRootD's client asks and tells while it copies, of all files: whether to go on."""

    asked = False

    def should_cancel(self, job: int) -> bool:
        """Whether the copy is to end."""
        return self.asked

    def begin(self, job: int, total: int, source: object, target: object) -> None:
        """A copy begins."""

    def update(self, job: int, processed: int, total: int) -> None:
        """Bytes were copied."""

    def end(self, job: int, results: object) -> None:
        """A copy ended."""


class Destination:
    """Directory behind ``root://``.

    A file is copied under a temporary name, its size compared with that on disk, then renamed: what
    bears its name is whole. Files of the same name are replaced.

    Arguments:
        url: Where the results go, ``root://host//path``.
        retry: How often to try a file; three times if None.
    Raises: ConfigurationError for another protocol, or where XRootD for Python is missing.
    """

    def __init__(self, url: str, retry: RetryPolicy | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme != "root" or not parts.netloc or not parts.path.strip("/"):
            msg = f"--copy-to must look like root://HOST//DIRECTORY, found {url!r}"
            raise ConfigurationError(msg)
        try:
            self._client: Any = importlib.import_module("XRootD.client")
        except ImportError as error:
            msg = (
                f"--copy-to {url} needs XRootD for Python ({first_line(error)}); "
                "pip install 'flashbrew[xrootd]'"
            )
            raise ConfigurationError(msg) from error
        self.url = redact(f"root://{parts.netloc}//{parts.path.strip('/')}")
        """Where the results go, without credentials."""
        self._server = f"root://{parts.netloc}/"
        self._folder = "/" + parts.path.strip("/")
        self._query = f"?{parts.query}" if parts.query else ""
        self._retry = retry or RetryPolicy()

    def probe(self, directory: Path) -> None:
        """Copy a small file there and remove it.

        Raises: ConfigurationError where that fails.
        """
        draft = directory / f".probe-{uuid.uuid4().hex}"
        try:
            draft.write_bytes(b"flashbrew")
            self._copy(draft, draft.name)
            self._done(self._files().rm(self._place(draft.name), timeout=TIMEOUT)[0])
        except OSError as error:
            msg = f"--copy-to {self.url} cannot be written ({first_line(error)}); choose another"
            raise ConfigurationError(msg) from error
        finally:
            draft.unlink(missing_ok=True)

    def copy(self, directory: Path, names: Sequence[str]) -> Copied:
        """Copy files, several at a time.

        Arguments:
            directory: Where they are.
            names: Paths below it.
        """

        stop = _Stop()

        def passes(error: BaseException) -> bool:
            return not stop.asked and kind_of(error) == "transient"

        def one(name: str) -> tuple[int, str]:
            try:
                size, _ = self._retry.call(
                    lambda: self._copy(directory / name, name, stop), name, passes
                )
            except OSError as error:
                return 0, first_line(error)
            return size, ""

        with ThreadPoolExecutor(STREAMS) as pool:
            try:
                results = list(pool.map(one, names))
            except BaseException:
                stop.asked = True
                raise
        failed = [(name, why) for name, (_, why) in zip(names, results, strict=True) if why]
        return Copied(len(names) - len(failed), sum(size for size, _ in results), failed)

    def _copy(self, path: Path, name: str, stop: _Stop | None = None) -> int:
        """Copy one file, return its size.

        Raises: OSError, also where it was stopped.
        """
        size, files, place = path.stat().st_size, self._files(), self._place(name)
        folder, _, last = place.partition("?")[0].rpartition("/")
        draft = f"{folder}/.{last}.{uuid.uuid4().hex}{self._query}"
        flags = self._client.flags
        make = flags.MkDirFlags.MAKEPATH
        made, _ = files.mkdir(folder + self._query, make, timeout=TIMEOUT)
        if not files.stat(folder + self._query, timeout=TIMEOUT)[0].ok:
            self._done(made)  # servers complain of what is there too
        try:
            process = self._client.CopyProcess()
            process.add_job(str(path), self._server + draft, force=True)
            self._done(process.prepare())
            self._done(process.run(stop)[0])
            status, found = files.stat(draft, timeout=TIMEOUT)
            self._done(status)
            if found.size != size:
                msg = f"{found.size:,} of {size:,} bytes of {name} arrived at {self.url}"
                raise OSError(msg)
            files.rm(place, timeout=TIMEOUT)  # not every server replaces what is there
            self._done(files.mv(draft, place, timeout=TIMEOUT)[0])
        except OSError:
            files.rm(draft, timeout=TIMEOUT)
            raise
        return size

    def _files(self) -> Any:
        return self._client.FileSystem(self._server)

    def _place(self, name: str) -> str:
        return f"{self._folder}/{name}{self._query}"

    @staticmethod
    def _done(status: Any) -> None:
        """Raise what a server complains of."""
        if not status.ok:
            raise OSError(redact(first_line(OSError(status.message))))


def results_of(directory: Path) -> list[str]:
    """Files of a run that are for people: neither ``state/`` nor what begins with a dot."""
    found = []
    for folder, folders, files in os.walk(directory, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if Path(folder) == directory:
            folders[:] = [name for name in folders if name != "state"]
        found += [
            (Path(folder) / name).relative_to(directory).as_posix()
            for name in files
            if not name.startswith(".")
        ]
    return sorted(found)
