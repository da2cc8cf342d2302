"""Folders of runs that nobody else may read, removed also where their run was killed."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from executors.errors import first_line

__all__ = ["private_folder"]

logger = logging.getLogger(__name__)
PREFIX = "run-"
OWNER = "owner.json"
# after which a folder counts as left behind where its owner cannot be asked; chosen, longer than
# batch systems let a run last
LONGEST = 30 * 86_400.0


@contextmanager
def private_folder(directory: Path) -> Iterator[Path]:
    """A folder of mode 0700 below ``directory`` for as long as this process needs it.

    Folders of runs that were killed are removed first: those whose process on this machine is
    gone, and others that are older than `LONGEST`. A run keeps nothing but ``*.pem`` in its folder.

    Raises: OSError where it cannot be made.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _remove_left_behind(directory)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=directory) as name:
        folder = Path(name)
        (folder / OWNER).write_text(json.dumps(_myself()), encoding="utf-8")
        yield folder


def _myself() -> dict[str, object]:
    """This process as others on this machine see it; a container numbers its own."""
    return {**_machine(), "pid": os.getpid()}


def _machine() -> dict[str, object]:
    try:
        processes = os.readlink("/proc/self/ns/pid")
    except OSError:
        processes = ""
    return {"host": socket.gethostname(), "processes": processes}


def _remove_left_behind(directory: Path) -> None:
    for folder in directory.glob(f"{PREFIX}*"):
        try:
            if _is_of_a_run(folder) and _is_left_behind(folder):
                shutil.rmtree(folder)
                logger.info("removed %s, left behind by a run that was killed", folder)
        except OSError as error:
            logger.debug("%s was not removed: %s", folder, first_line(error))


def _is_of_a_run(folder: Path) -> bool:
    """Whether a folder can only have been made here: nobody else's is ever removed."""
    found = folder.lstat()
    private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == stat.S_IRWXU
    if not private or found.st_uid != os.geteuid():
        return False
    names = {path.name for path in folder.iterdir()}
    # a run may have been killed before it wrote anything
    return not names or (OWNER in names and all(name.endswith(".pem") for name in names - {OWNER}))


def _is_left_behind(folder: Path) -> bool:
    """Whether the run of a folder has ended for certain."""
    try:
        owner = json.loads((folder / OWNER).read_text("utf-8"))
        here = all(owner[key] == value for key, value in _machine().items())
        if here:
            return not _runs(int(owner["pid"]))
    except (OSError, ValueError, LookupError, TypeError) as error:
        logger.debug("%s names no owner: %s", folder, first_line(error))
    return time.time() - folder.stat().st_mtime > LONGEST


def _runs(pid: int) -> bool:
    """Whether a process is there, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
