"""Coffea fileset JSON, checked key by key."""

from __future__ import annotations

import difflib
import gzip
import itertools
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from executors.errors import ConfigurationError
from executors.inputs.fileset import DEFAULT_TREE, FileEntry, absolute_name, refuse_repeats

__all__ = ["parse_fileset", "read_fileset"]

_DATASET_KEYS = (
    "files", "treename", "metadata", "preload", "format", "form", "compressed_form", "did",
)  # fmt: skip
# what coffea's preprocessing writes of a file; the selected entries are those of the steps
_FILE_KEYS = (
    "object_path", "steps", "num_entries", "num_selected_entries", "uuid", "format", "lfn", "pfn",
)  # fmt: skip
# keys that coffea puts into events.metadata itself (coffea.processor.executor, 2026.9.0)
_RESERVED = (
    "dataset", "filename", "treename", "metadata", "entrystart", "entrystop",
    "fileuuid", "numentries", "uuid", "clusters", "preload",
)  # fmt: skip
_GZIP = b"\x1f\x8b"  # first bytes of a compressed file
_DIGEST = re.compile(r"[0-9a-f]{64}")  # what coffea calls the uuid of a parquet file
_DATASET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,199}")


def read_fileset(path: str | Path, *, tree: str = DEFAULT_TREE) -> list[FileEntry]:
    """Read a coffea fileset JSON, plain or compressed; ``tree`` is read where it names none.

    Raises: ConfigurationError for a file that cannot be read, is no JSON, or breaks the layout.
    """
    try:
        content = json.loads(_text(Path(path)), object_pairs_hook=_unique)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        msg = f"fileset {path} is a damaged gzip file ({error}); write it again"
        raise ConfigurationError(msg) from error
    except OSError as error:
        msg = f"fileset {path} cannot be read: {error.strerror or error}"
        raise ConfigurationError(msg) from error
    except ConfigurationError as error:
        msg = f"fileset {path}: {error}"
        raise ConfigurationError(msg) from error
    except ValueError as error:
        msg = f"fileset {path} is not JSON: {error}"
        raise ConfigurationError(msg) from error
    return parse_fileset(content, source=str(path), tree=tree)


def _text(path: Path) -> str:
    """Text of a file, unpacked where it is compressed, without a byte order mark."""
    content = path.read_bytes()
    return (gzip.decompress(content) if content.startswith(_GZIP) else content).decode("utf-8-sig")


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object, refusing a key that appears twice."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            msg = f"key {key!r} appears twice in one object; merge or rename the two entries"
            raise ConfigurationError(msg)
        found[key] = value
    return found


def parse_fileset(
    content: Any, *, source: str = "fileset", tree: str = DEFAULT_TREE
) -> list[FileEntry]:
    """Turn the content of a coffea fileset into entries, in its order.

    Layouts of a dataset: ``{"files": {path: tree or {"object_path", "steps", ...}}, "metadata"}``,
    ``{"treename", "files": [path, ...], "metadata"}``, ``[path, ...]``. Where no tree is named it
    is ``tree``. Relative paths are relative to the working directory, as in coffea.

    Raises: ConfigurationError naming the place; a misspelt key is named with the likely one.
    """
    if not isinstance(content, Mapping) or not content:
        msg = f"{source}: expected an object {{dataset: files}}, found {_kind(content)}"
        raise ConfigurationError(msg)
    entries: list[FileEntry] = []
    for dataset, value in content.items():
        entries.extend(_dataset(dataset, value, f"{source}: dataset {dataset!r}", tree))
    return entries


def _dataset(dataset: str, value: Any, where: str, default: str) -> list[FileEntry]:
    """Entries of one dataset."""
    if not _DATASET_NAME.fullmatch(dataset):
        msg = (
            f"{where}: a dataset's name is also a folder of the output: use letters, digits "
            "and . _ + = - (at most 200), starting with a letter or digit"
        )
        raise ConfigurationError(msg)
    if isinstance(value, list):
        value = {"files": value}
    if not isinstance(value, Mapping):
        msg = f"{where}: expected a list of files or an object with 'files', found {_kind(value)}"
        raise ConfigurationError(msg)
    _check_keys(value, _DATASET_KEYS, where)
    files = value.get("files")
    if not isinstance(files, (list, Mapping)) or not files:
        msg = f"{where}: 'files' must list at least one file, found {_kind(files)}"
        raise ConfigurationError(msg)
    metadata = _metadata(value.get("metadata"), where)
    preload = _preload(value.get("preload"), where)
    tree = value.get("treename", default)
    if not isinstance(tree, str) or not tree:
        msg = f"{where}: 'treename' must be the name of a tree, found {_kind(tree)}"
        raise ConfigurationError(msg)
    described = files if isinstance(files, Mapping) else dict.fromkeys(_strings(files, where), tree)
    names = [absolute_name(name) for name in (described if isinstance(files, Mapping) else files)]
    refuse_repeats(dataset, names, where)
    return [
        _file(dataset, name, spec, tree, metadata, preload, f"{where}: file {name!r}")
        for name, spec in zip(names, described.values(), strict=True)
    ]


def _file(
    dataset: str,
    name: str,
    spec: Any,
    tree: str,
    metadata: Mapping[str, Any],
    preload: frozenset[str] | None,
    where: str,
) -> FileEntry:
    """One file, described by a tree name, an object, or nothing."""
    if spec is None:
        spec = tree
    if isinstance(spec, str):
        return FileEntry(dataset, name, spec or tree, metadata=metadata, preload=preload)
    if not isinstance(spec, Mapping):
        msg = f"{where}: expected the name of a tree or an object, found {_kind(spec)}"
        raise ConfigurationError(msg)
    _check_keys(spec, _FILE_KEYS, where)
    object_path = spec.get("object_path") or tree
    if not isinstance(object_path, str):
        msg = f"{where}: 'object_path' must be the name of a tree, found {_kind(object_path)}"
        raise ConfigurationError(msg)
    return FileEntry(
        dataset,
        name,
        object_path,
        steps=_steps(spec.get("steps"), where),
        num_entries=_entries(spec.get("num_entries"), where),
        uuid=_uuid(spec.get("uuid"), where),
        metadata=metadata,
        preload=preload,
    )


def _check_keys(value: Mapping[str, Any], allowed: Sequence[str], where: str) -> None:
    """Refuse a key that means nothing here, with the key that was probably meant."""
    for key in value:
        if key not in allowed:
            close = difflib.get_close_matches(str(key), allowed, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(allowed)}"
            msg = f"{where}: unknown key {key!r}; {hint}"
            raise ConfigurationError(msg)


def _metadata(value: Any, where: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        msg = f"{where}: 'metadata' must be an object, found {_kind(value)}"
        raise ConfigurationError(msg)
    for key in value:
        if key in _RESERVED:
            msg = f"{where}: metadata key {key!r} is taken by coffea itself; rename it"
            raise ConfigurationError(msg)
    return dict(value)


def _preload(value: Any, where: str) -> frozenset[str] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        msg = f"{where}: 'preload' must list branches, found {_kind(value)}"
        raise ConfigurationError(msg)
    return frozenset(_strings(value, where))


def _steps(value: Any, where: str) -> tuple[tuple[int, int], ...] | None:
    """Check that steps are ordered, separate ranges [start, stop]."""
    if value is None:
        return None
    if not isinstance(value, list):
        msg = f"{where}: 'steps' must be a list of [start, stop], found {_kind(value)}"
        raise ConfigurationError(msg)
    steps: list[tuple[int, int]] = []
    for step in value:
        if not isinstance(step, list) or len(step) != 2 or not all(map(_is_integer, step)):
            msg = f"{where}: a step is [start, stop] with two integers, found {step!r}"
            raise ConfigurationError(msg)
        start, stop = step
        if not 0 <= start <= stop:
            msg = f"{where}: step {step!r} needs 0 <= start <= stop"
            raise ConfigurationError(msg)
        steps.append((start, stop))
    steps.sort()
    for (_, before), (start, stop) in itertools.pairwise(steps):
        if start < before:
            msg = f"{where}: step [{start}, {stop}] overlaps another; events would count twice"
            raise ConfigurationError(msg)
    return tuple(steps)


def _entries(value: Any, where: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, int) and _is_integer(value) and value >= 0:
        return value
    msg = f"{where}: 'num_entries' must be a number of events, found {value!r}"
    raise ConfigurationError(msg)


def _uuid(value: Any, where: str) -> UUID | None:
    """UUID of a ROOT file; of a parquet file coffea keeps a digest, which nothing here checks."""
    if value is None or _DIGEST.fullmatch(str(value)):
        return None
    try:
        return UUID(str(value))
    except ValueError:
        msg = f"{where}: 'uuid' must be 32 hexadecimal digits, found {value!r}"
        raise ConfigurationError(msg) from None


def _strings(values: Sequence[Any], where: str) -> list[str]:
    for value in values:
        if not isinstance(value, str) or not value:
            msg = f"{where}: expected a list of names, found {_kind(value)} in it"
            raise ConfigurationError(msg)
    return list(values)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    """How JSON calls a value."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
    if value is None:
        return "nothing"
    if not value and isinstance(value, (dict, list, str)):
        return f"{names[type(value)]} that is empty"
    return names.get(type(value), "a number")
