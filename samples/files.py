"""ROOT files of equal bytes for equal content."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import uproot

from samples.stamps import fix_times

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["reproducible_file"]

_NAMESPACE = uuid.UUID("6f1c1f6e-6d0e-5d4a-9d1f-3b0a7c2b9a10")
_INITIAL_DIRECTORY_BYTES = 1024


@contextmanager
def reproducible_file(
    path: Path, identity: str, level: int = 9
) -> Iterator[uproot.WritableDirectory]:
    """Open ``path`` for TTrees; the file appears, complete, when the block ends well.

    Its UUID follows from ``identity``, its bytes from what is written alone. Neither the clock nor
    the path leaves a trace in it.

    Arguments:
        path: File to write.
        identity: What the file is, in one line.
        level: Of ZSTD.
    """
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    partial = scratch / "events.root"
    try:
        with uproot.recreate(
            partial,
            compression=uproot.ZSTD(level),
            uuid_function=lambda: uuid.uuid5(_NAMESPACE, identity),
            initial_directory_bytes=_INITIAL_DIRECTORY_BYTES,
        ) as file:
            yield file
        fix_times(partial)
        partial.replace(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
