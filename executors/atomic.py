"""Files that are there completely or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["appearing", "write_atomically"]


@contextmanager
def appearing(path: Path, suffix: str = "") -> Iterator[Path]:
    """A place beside ``path`` to write to: synced at the end, then renamed to ``path``.

    Where the block raises, ``path`` stays as it was and the draft is removed.

    Arguments:
        path: Final name, in a folder that exists.
        suffix: What the draft's name ends with.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}{suffix}")
    try:
        yield draft
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file that is there completely or not at all."""
    with appearing(path) as draft:
        draft.write_text(text, encoding="utf-8")
