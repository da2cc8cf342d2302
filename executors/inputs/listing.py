"""Files that a remote directory or pattern stands for, asked of its server."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from typing import Any

import fsspec

from executors.errors import ConfigurationError, first_line, root_cause
from executors.retry import RetryPolicy

__all__ = ["expand_url"]

LISTED = ("root",)
"""Protocols whose servers list directories."""
_MAGIC = re.compile(r"[*\[]")  # not "?": it begins the opaque part of a URL


def expand_url(url: str, suffix: str, *, retry: RetryPolicy | None = None) -> list[str]:
    """URLs of the files that ``url`` stands for, sorted; a plain file name stays as it is.

    ``*``, ``[...]`` and ``**`` (any number of directories) stand for names on servers that list
    directories; without one of them, a name without an extension or with a slash at its end is
    looked at, and where it is a directory it stands for every file below it that ends in
    ``suffix``. Whatever follows a ``?`` (an authorisation, a service class) goes to every file.

    Arguments:
        url: What the user wrote.
        suffix: End of the names to look for in a directory, such as ``.root``.
        retry: How often to ask; three times if None.
    Raises: ConfigurationError where nothing is found, or the server does not list.
    """
    place, query = _parted(url)
    protocol, _, rest = place.partition("://")
    host, _, path = rest.partition("/")
    pattern = _MAGIC.search(path) is not None
    directory = path.endswith("/") or "." not in path.rpartition("/")[2]
    if protocol not in LISTED:
        if pattern:
            msg = f"{url}: servers of {protocol}:// list no directories; name each file"
            raise ConfigurationError(msg)
        return [url]
    if not pattern and not directory:
        return [url]
    try:
        found, _ = (retry or RetryPolicy()).call(
            lambda: _found(f"{protocol}://{host}/", "/" + path.strip("/"), query, suffix), url
        )
    except ImportError as error:
        msg = f"{url} cannot be listed: {first_line(error)}; pip install 'flashbrew[xrootd]'"
        raise ConfigurationError(msg) from error
    except OSError as error:
        msg = f"{url} cannot be listed ({first_line(root_cause(error))}); check host and path"
        raise ConfigurationError(msg) from error
    if not found:
        msg = (
            f"no file matches {url}; check the pattern"
            if pattern
            else f"directory {url} holds no *{suffix} file; name the files or another directory"
        )
        raise ConfigurationError(msg)
    return [f"{protocol}://{host}/{name}{query}" for name in sorted(found)]


def _parted(url: str) -> tuple[str, str]:
    """A URL without and with only what follows its ``?``."""
    place, mark, query = url.partition("?")
    return place, mark + query


def _found(server: str, path: str, query: str, suffix: str) -> list[str]:
    """Absolute paths that a path stands for; a file stands for itself."""
    files, _ = fsspec.core.url_to_fs(server + path)
    files.dircache.clear()  # an earlier listing of this process may be an old one
    try:
        if _MAGIC.search(path):
            parts = path.strip("/").split("/")
            first = next(i for i, part in enumerate(parts) if _MAGIC.search(part))
            base = "/" + "/".join(parts[:first])
            return list(dict.fromkeys(_matches(files, base, parts[first:], query)))
        if files.info(path + query)["type"] != "directory":
            return [path]
        return [name for name in _below(files, path, query) if name.endswith(suffix)]
    finally:
        files.dircache.clear()


def _matches(files: Any, base: str, parts: list[str], query: str) -> Iterator[str]:
    """Files below ``base`` whose names match ``parts``, one pattern per level."""
    part, *others = parts
    if part == "**":
        yield from _matches(files, base, others or ["*"], query)
    for name, directory in _listed(files, base, query):
        if directory and part == "**":
            yield from _matches(files, name, parts, query)
        elif not fnmatch.fnmatchcase(name.rpartition("/")[2], part) or part == "**":
            continue
        elif others and directory:
            yield from _matches(files, name, others, query)
        elif not others and not directory:
            yield name


def _below(files: Any, base: str, query: str) -> Iterator[str]:
    """All files below a directory."""
    for name, directory in _listed(files, base, query):
        if directory:
            yield from _below(files, name, query)
        else:
            yield name


def _listed(files: Any, base: str, query: str) -> Iterator[tuple[str, bool]]:
    """Names in a directory, absolute, and whether each is a directory."""
    base = base.rstrip("/")
    for entry in files.ls((base or "/") + query, detail=True):
        name = str(entry["name"]).rstrip("/").rpartition("/")[2]
        yield f"{base}/{name}", entry["type"] == "directory"
