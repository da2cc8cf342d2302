"""Tables on disk: arrays in an npz without pickle, a JSON header that says what they are."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["HEADER", "read_npz", "write_npz"]

HEADER = "header"
NO_TABLE = (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)
"""What numpy, zip and JSON say of files that are something else."""


def write_npz(path: Path, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write a table that is there completely or not at all; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, **{HEADER: text}, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_npz(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header, arrays of a table.

    Raises: OSError; ValueError where the file is none.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name != HEADER}
            header: dict[str, Any] = dict(json.loads(file[HEADER].tobytes()))
    except NO_TABLE as error:
        message = f"{path} is no npz of plain arrays with a header"
        raise ValueError(message) from error
    return header, arrays
