"""Lock of an output directory: one run at a time, a dead run's lock is taken over."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, NoReturn

from executors.errors import ConfigurationError

__all__ = ["STALE", "Holder", "OutputLock", "holder"]

logger = logging.getLogger(__name__)

NAME = ".flashbrew.lock"
STALE = 60.0  # seconds without a heartbeat after which a lock counts as left behind
BEAT = 10.0  # seconds between heartbeats; chosen, several fit into STALE
LOOK = 1.0  # seconds between two looks at a lock that may be left behind, or cannot be read
LOOKS = 5  # looks at a lock that cannot be read before the last one; chosen
PATIENCE = "FLASHBREW_OUTLAST_LOCK"
"""Environment variable of jobs: 1 waits whether a lock beats again or becomes stale.

A batch system starts a job that was killed again at once: a lock without a heartbeat is its own.
"""


class Holder(NamedTuple):
    """Who holds a directory, and how many seconds ago it gave a sign of life."""

    host: str
    pid: int
    age: float

    @property
    def alive(self) -> bool:
        """Whether it may still be there."""
        return self.age < STALE


def holder(directory: Path) -> Holder | None:
    """Who holds a directory by its lock, None where nobody does.

    The age is by this host's clock: nothing is written.
    """
    path = directory / NAME
    held = _read(path)
    try:
        age = time.time() - path.stat().st_mtime
        return Holder(str(held["host"]), int(str(held["pid"])), max(age, 0.0))
    except (OSError, LookupError, ValueError):
        return None


class OutputLock:
    """Context manager that holds a directory for this process.

    The lock is a file with host and process id; its modification time is the heartbeat. Ages are
    differences of modification times in the same directory, so clocks of hosts need not agree.

    Arguments:
        directory: Existing, writable directory.
    Raises: ConfigurationError on entering, where another run holds the directory; with `PATIENCE`
        in the environment only once it gave a sign of life.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self._token = uuid.uuid4().hex
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="output-lock")

    def __enter__(self) -> OutputLock:
        if not self._create():
            if os.environ.get(PATIENCE) == "1":
                self._outlast()
            self._take_over()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.release()

    def release(self) -> None:
        """Let others have the directory, where it is still this run's."""
        try:
            if self.held:
                self.path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("the lock %s cannot be removed: %s", self.path, error)

    @property
    def held(self) -> bool:
        """Whether the lock is still this run's: one that slept for long may have lost it.

        Raises: OSError where a disk does not say.
        """
        try:
            return _content(self.path).get("token") == self._token
        except FileNotFoundError:
            return False

    def require(self) -> None:
        """Make sure that nobody else works in the directory.

        Raises: ConfigurationError where another run took the directory over, OSError where a disk
            does not say for several seconds.
        """
        for _ in range(LOOKS):
            try:
                held = self.held
                break
            except OSError as error:
                logger.warning("the lock %s cannot be read: %s", self.path, error)
                time.sleep(LOOK)
        else:
            held = self.held
        if not held:
            msg = (
                f"output directory {self.path.parent} was taken over by another run while this "
                "one gave no sign of life; this one ends, and writes nothing more"
            )
            raise ConfigurationError(msg)

    def _create(self) -> bool:
        """Write the lock unless there is one."""
        content = {"host": socket.gethostname(), "pid": os.getpid(), "token": self._token}
        try:
            with self.path.open("x", encoding="utf-8") as file:
                json.dump(content, file)
        except FileExistsError:
            return False
        return True

    def _outlast(self) -> None:
        """Wait until a lock is stale, gone, or shows by a heartbeat that somebody holds it."""
        first = self._beaten()
        while (age := self._age()) is not None and age < STALE and self._beaten() == first:
            time.sleep(LOOK)

    def _beaten(self) -> int | None:
        """Time of the last heartbeat, None without a lock."""
        try:
            return self.path.stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def _take_over(self) -> None:
        """Replace a lock without heartbeat; refuse one that is alive."""
        self._refuse_if_alive()
        with self._alone():
            self._refuse_if_alive()  # another run may have been faster
            held = _read(self.path)
            logger.warning(
                "taking over %s from process %s on %s, silent for more than %.0f s",
                self.path.parent, held.get("pid"), held.get("host"), STALE,
            )  # fmt: skip
            self.path.unlink(missing_ok=True)
            if not self._create():
                self._refuse_as_taken()

    def _refuse_if_alive(self) -> None:
        held, age = _read(self.path), self._age()
        if age is not None and age < STALE:
            msg = (
                f"output directory {self.path.parent} is in use by process {held.get('pid')} on "
                f"{held.get('host')} (sign of life {age:.0f} s ago); choose another --output, or "
                f"try again {STALE:.0f} s after that run has ended"
            )
            raise ConfigurationError(msg)

    def _refuse_as_taken(self) -> NoReturn:
        msg = (
            f"output directory {self.path.parent} was taken by another run just now; "
            "choose another --output"
        )
        raise ConfigurationError(msg)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process at a time replace a lock: making a folder is atomic everywhere."""
        gate = self.path.with_name(f"{NAME}.takeover")
        try:
            if (self._age(gate) or 0.0) > STALE:
                gate.rmdir()  # of a process that died right here
            gate.mkdir()
        except (FileExistsError, FileNotFoundError):
            self._refuse_as_taken()
        try:
            yield
        finally:
            gate.rmdir()

    def _age(self, path: Path | None = None) -> float | None:
        """Seconds since the last heartbeat by the clock of the file system, None without a lock."""
        probe = self.path.with_name(f"{NAME}.{self._token}")
        try:
            beat = (path or self.path).stat().st_mtime
            probe.touch()
            return probe.stat().st_mtime - beat
        except FileNotFoundError:
            return None
        finally:
            probe.unlink(missing_ok=True)

    def _beat(self) -> None:
        """Show that this run is alive until it ends; stop it where another took its place."""
        while not self._stop.wait(BEAT):
            try:
                if not self.held:
                    logger.error("%s was taken over by another run", self.path.parent)
                    main = threading.main_thread().ident or 0
                    # wakes it even from a wait; in the background of a shell SIGINT is ignored
                    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
                    signal.pthread_kill(main, signal.SIGTERM if ignored else signal.SIGINT)
                    return
                os.utime(self.path)
            except OSError as error:
                logger.warning("the lock %s cannot be renewed: %s", self.path, error)


def _read(path: Path) -> dict[str, object]:
    """Content of a lock, empty where it is gone, damaged or cannot be read."""
    try:
        return _content(path)
    except OSError:
        return {}


def _content(path: Path) -> dict[str, object]:
    """Content of a lock, empty where it is damaged; raises OSError where it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
