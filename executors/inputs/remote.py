"""Connections to remote files: how long to wait for a server, how to begin anew with one."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

__all__ = ["CLIENT", "client_settings", "forget_connections", "use_settings"]

CLIENT = {
    "XRD_CONNECTIONWINDOW": "15",  # seconds of one attempt to connect; 120 otherwise
    "XRD_CONNECTIONRETRY": "2",  # attempts; 5 otherwise
    "XRD_STREAMERRORWINDOW": "0",  # seconds to refuse a server that could not be reached; 1800
    "XRD_RUNFORKHANDLER": "1",  # keep a forked child from using connections of its parent
}
"""Environment of XRootD's client, read when it is first loaded; chosen.

As delivered, a file behind a server that is gone fails after ten minutes, and a server that came
back is not asked again for half an hour: retries of a chunk would all fail.
"""


def client_settings() -> dict[str, str]:
    """`CLIENT`, or what the environment of this process says instead."""
    return {name: os.environ.get(name, value) for name, value in CLIENT.items()}


def use_settings(values: Mapping[str, str]) -> None:
    """Give this process settings of XRootD's client that its environment does not have.

    A client that is loaded has read its environment: it is told, too.
    """
    missing = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(missing)
    client: Any = sys.modules.get("XRootD.client.env")
    for name, value in missing.items() if client is not None else ():
        client.EnvPutInt(name.removeprefix("XRD_"), int(value))


def forget_connections(name: str) -> None:
    """Close what this process keeps open at the server of a remote file; for ``root://`` alone.

    fsspec-xrootd keeps files open for later reads. After the server closed a connection, each of
    those reads would fail, and so would every further attempt of a chunk.
    """
    module: Any = sys.modules.get("fsspec_xrootd")
    if module is None or not name.startswith("root://"):
        return
    server = f"root://{urlsplit(name).netloc}/"
    for files in list(module.XRootDFileSystem._cache.values()):
        opened = getattr(getattr(files, "_readonly_filehandle_cache", None), "_cache", {})
        for url in list(opened):
            if url.startswith(server):
                with contextlib.suppress(Exception):  # closing what is broken may fail
                    files.invalidate_cache(url)
