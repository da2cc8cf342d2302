"""Output directory of a run: prepared, proven writable, its files accounted for."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from executors.errors import ConfigurationError
from executors.inputs.fileset import is_remote

__all__ = [
    "EVENT_FILE",
    "output_problems",
    "prepare_output",
    "probe_writable",
    "refuse_shared_folders",
    "relative_output",
    "sweep",
]

# what chunks write, and the temporary names it is written under, by folder:
# events/<dataset>/<file uuid>_<start>-<stop>.<format>,
# tables/<dataset>/<object>_<file uuid>_<start>-<stop>.npz
_CHUNK = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}_\d+-\d+"
EVENT_FILE = re.compile(
    r"(?P<folder>events/[^/]+)/(?P<uuid>[0-9a-f-]{36})_(?P<start>\d+)-(?P<stop>\d+)"
    r"(?P<suffix>[.]root|[.]parquet)"
)
"""Relative path of the event file of a chunk."""
_CHUNK_FILES = {
    "events": re.compile(rf"[.]?{_CHUNK}[.](root|parquet)\b.*"),
    "tables": re.compile(rf"[.]?\w+_{_CHUNK}[.]npz\b.*"),
}


def prepare_output(directory: str | Path, inputs: Collection[str] = ()) -> Path:
    """Create the output directory, prove that it can be written, return its absolute path.

    Raises: ConfigurationError in one sentence where it cannot, or where an input lies in it.
    """
    if is_remote(str(directory)):
        msg = (
            f"--output {directory} is not on disk: name a directory there, and --copy-to "
            "root://HOST//DIRECTORY for a copy of the results"
        )
        raise ConfigurationError(msg)
    path = Path(directory).expanduser().absolute()
    for name in inputs:
        if not is_remote(name) and Path(name).resolve().is_relative_to(path.resolve()):
            msg = f"input {name} lies in the output directory {path}; choose another --output"
            raise ConfigurationError(msg)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next(place for place in (path, *path.parents) if place.exists())
        msg = f"--output {directory}: {file} is a file, not a directory; choose another --output"
        raise ConfigurationError(msg) from error
    except OSError as error:
        msg = f"--output {directory} cannot be created: {error.strerror}; choose another --output"
        raise ConfigurationError(msg) from error
    complaint = probe_writable(path)
    if complaint:
        raise ConfigurationError(complaint)
    return path


def probe_writable(directory: Path) -> str | None:
    """Write, read and remove a small file; return what is wrong, or None."""
    probe = directory / f".probe-{uuid.uuid4().hex}"
    try:
        probe.write_bytes(b"flashbrew")
        read = probe.read_bytes()
        probe.unlink()
    except OSError as error:
        return (
            f"output directory {directory} cannot be written ({error.strerror or error}); "
            "choose another --output, or make it writable there"
        )
    return None if read == b"flashbrew" else f"output directory {directory} does not keep files"


def sweep(directory: Path, keep: Collection[str] = ()) -> int:
    """Remove chunk files below ``events/``, ``tables/`` that are not in ``keep``; return how many.

    Only names that a run of this project writes are touched.

    Arguments:
        directory: Output directory.
        keep: Paths relative to it, with forward slashes.
    """
    removed = 0
    for folder, pattern in _CHUNK_FILES.items():
        for path in sorted((directory / folder).glob("*/*")):
            if pattern.fullmatch(path.name) and relative_output(path, directory) not in keep:
                path.unlink()
                removed += 1
    return removed


def refuse_shared_folders(datasets: Iterable[str], folder: Callable[[str], str]) -> None:
    """Refuse datasets whose outputs would lie in one folder and replace each other.

    Arguments:
        datasets: Names.
        folder: Folder of a dataset's name.
    Raises: ConfigurationError naming the first two.
    """
    taken: dict[str, str] = {}
    for name in datasets:
        place = folder(name)
        if taken.setdefault(place, name) != name:
            msg = (
                f"datasets {taken[place]!r} and {name!r} would both be written to the folder "
                f"{place!r}; rename one of them"
            )
            raise ConfigurationError(msg)


def output_problems(outputs: Iterable[str], directory: Path) -> list[str]:
    """What is wrong with the outputs that chunks listed: each must exist, once.

    Arguments:
        outputs: Paths, absolute or relative to ``directory``; URLs are taken on trust.
        directory: Output directory.
    """
    counts = Counter(relative_output(path, directory) for path in outputs)
    twice = sorted(name for name, times in counts.items() if times > 1)
    gone = sorted(
        name for name in counts if not is_remote(name) and not (directory / name).is_file()
    )
    problems = []
    if twice:
        problems.append(
            f"{len(twice)} output files were written by more than one chunk, which lost events "
            f"(the first: {twice[0]}); give every chunk a file of its own"
        )
    if gone:
        problems.append(
            f"{len(gone)} output files are listed but not there (the first: {gone[0]}); "
            "workers must write to the same disk as this process, and leave what they wrote"
        )
    return problems


def relative_output(path: str | Path, directory: Path) -> str:
    """Path of an output relative to the output directory, where it lies in it."""
    if is_remote(str(path)):
        return str(path)
    place = Path(path)
    if place.is_absolute() and place.is_relative_to(directory):
        place = place.relative_to(directory)
    return place.as_posix()
