"""Which files belong to which dataset, found from what a command line names.

Plain inputs (files, globs, directories, ``root://`` or ``https://`` URLs) all belong to one dataset
named ``input``: the noise of an event is keyed by the dataset's name, so the name must not depend
on how a path is spelt. Samples that must not share noise or outputs are named in a fileset.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from executors.errors import ConfigurationError
from executors.inputs.listing import expand_url
from executors.retry import RetryPolicy

__all__ = [
    "DEFAULT_DATASET",
    "DEFAULT_TREE",
    "SUFFIXES",
    "FileEntry",
    "absolute_name",
    "from_inputs",
    "is_remote",
    "refuse_other_formats",
    "refuse_repeats",
]

DEFAULT_DATASET = "input"
DEFAULT_TREE = "Events"
SUFFIXES = {"root": ".root", "parquet": ".parquet"}
"""End of a file's name by format: what a directory is searched for."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True)
class FileEntry:
    """One file of a dataset, as asked for; nothing has been opened yet.

    ``steps`` are entry ranges ``(start, stop)`` to keep to, None for the whole file;
    ``num_entries`` and ``uuid`` are what the fileset says the file has, None where it says nothing.
    """

    dataset: str
    file: str
    tree: str = DEFAULT_TREE
    steps: tuple[tuple[int, int], ...] | None = None
    num_entries: int | None = None
    uuid: UUID | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    preload: frozenset[str] | None = None

    @property
    def format(self) -> str:
        """``parquet`` where the name ends so, else ``root``."""
        parquet = self.file.partition("?")[0].endswith(SUFFIXES["parquet"])
        return "parquet" if parquet else "root"


def is_remote(name: str) -> bool:
    """Whether a name is a URL such as ``root://host//path``.

    Example:
        >>> is_remote("root://eos.cern.ch//store/a.root"), is_remote("a:b/c.root")
        (True, False)
    """
    return _URL.match(name) is not None


def from_inputs(
    inputs: Iterable[str | Path],
    *,
    tree: str = DEFAULT_TREE,
    suffix: str = SUFFIXES["root"],
    retry: RetryPolicy | None = None,
) -> list[FileEntry]:
    """Expand files, globs, directories and URLs into entries of the dataset ``input``.

    A directory stands for every file below it that ends in ``suffix``, on this machine or behind
    ``root://``. The order is that of the arguments, sorted inside each glob or directory. A named
    file need not exist: the plan reports it.

    Arguments:
        inputs: Files, globs, directories, URLs.
        tree: Tree to read in each file.
        suffix: What names in a directory end in.
        retry: How often to ask a server for its directories; three times if None.
    Raises: ConfigurationError for a glob or directory without files, a file named twice, no input,
        a server that does not answer.
    """
    names: list[str] = []
    for item in inputs:
        names.extend(_expand(str(item), suffix, retry))
    if not names:
        msg = "no input file: name files, globs, directories or root:// URLs, or give --fileset"
        raise ConfigurationError(msg)
    refuse_repeats(DEFAULT_DATASET, names)
    return [FileEntry(DEFAULT_DATASET, name, tree) for name in names]


def _expand(item: str, suffix: str, retry: RetryPolicy | None) -> list[str]:
    """Names that one command-line argument stands for."""
    if item.startswith("file://"):
        item = item.removeprefix("file://")
    elif is_remote(item):
        return expand_url(item, suffix, retry=retry)
    path = Path(item).expanduser()
    if path.is_dir():
        found = sorted(str(match.absolute()) for match in path.rglob(f"*{suffix}"))
        if not found:
            msg = f"directory {item} holds no *{suffix} file; name the files or another directory"
            raise ConfigurationError(msg)
        return found
    if not path.exists() and glob.has_magic(item):
        found = sorted(glob.glob(str(path), recursive=True))
        if not found:
            msg = f"no file matches {item}; check the pattern"
            raise ConfigurationError(msg)
        return [str(Path(match).absolute()) for match in found]
    return [str(path.absolute())]


def refuse_repeats(dataset: str, names: Sequence[str], where: str = "input") -> None:
    """Refuse a file that would be processed twice in one dataset."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            msg = f"{where}: {name} is named twice in dataset {dataset!r}; name it once"
            raise ConfigurationError(msg)
        seen.add(name)


def refuse_other_formats(entries: Iterable[FileEntry], wanted: str) -> None:
    """Refuse parquet files where ROOT files are read, and the other way round.

    Arguments:
        entries: Files.
        wanted: ``root`` or ``parquet``.
    Raises: ConfigurationError naming the first one.
    """
    for entry in entries:
        if entry.format != wanted:
            msg = (
                f"{entry.file} is a {entry.format} file by its name, this processor reads {wanted} "
                "files; name others, or another processor"
            )
            raise ConfigurationError(msg)


def absolute_name(name: str) -> str:
    """Absolute path of a local name (workers may start elsewhere), URLs as they are."""
    return name if is_remote(name) else str(Path(name).expanduser().absolute())
