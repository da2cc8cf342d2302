"""Output directory of a run: prepared, proven writable, free of what an earlier run left."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Collection
from pathlib import Path

from executors.errors import ConfigurationError
from executors.fileset import is_remote

__all__ = [
    "clear_results",
    "prepare_output",
    "probe_writable",
    "relative_output",
    "sweep",
    "write_atomically",
]

# events/<dataset>/<file uuid>_<start>-<stop>.<format>, and the temporary names it is written under
_CHUNK_FILE = re.compile(
    r"[.]?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}_\d+-\d+[.](root|parquet)\b.*"
)
_RESULTS = ("report.json", "histograms.json")


def prepare_output(directory: str | Path, inputs: Collection[str] = ()) -> Path:
    """Create the output directory, prove that it can be written, return its absolute path.

    Raises: ConfigurationError in one sentence where it cannot, or where an input lies in it.
    """
    if is_remote(str(directory)):
        msg = f"--output {directory}: remote output is not supported yet; name a local directory"
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
    """Remove chunk files below ``events/`` that are not in ``keep``; return how many.

    Only names that a run of this project writes are touched.

    Arguments:
        directory: Output directory.
        keep: Paths relative to it, with forward slashes.
    """
    removed = 0
    for path in sorted((directory / "events").glob("*/*")):
        if _CHUNK_FILE.fullmatch(path.name) and relative_output(path, directory) not in keep:
            path.unlink()
            removed += 1
    return removed


def clear_results(directory: Path) -> None:
    """Remove what an earlier run wrote, so that nothing old stands beside the new run."""
    for name in _RESULTS:
        (directory / name).unlink(missing_ok=True)
    for picture in (directory / "plots").rglob("*.png"):
        picture.unlink()
    sweep(directory)


def relative_output(path: str | Path, directory: Path) -> str:
    """Path of an output relative to the output directory, where it lies in it."""
    place = Path(path)
    if place.is_absolute() and place.is_relative_to(directory):
        place = place.relative_to(directory)
    return place.as_posix()


def write_atomically(path: Path, text: str) -> None:
    """Write a text file that is there completely or not at all."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
