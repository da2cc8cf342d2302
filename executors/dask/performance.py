"""Dask's own account of a run in an HTML file: task stream, profiles, load of workers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import distributed

from executors.errors import first_line

__all__ = ["recorded"]

logger = logging.getLogger(__name__)


@contextmanager
def recorded(client: distributed.Client, path: Path | None) -> Iterator[None]:
    """Record what the cluster does, write it to ``path`` in the end; nothing where that is None.

    A report that cannot be written is a warning: the run is worth more. That of an interrupted
    run is left out: whoever stops a run waits.
    """
    if path is None:
        yield
        return
    report = distributed.performance_report(filename=str(path))
    with client.as_current():
        report.__enter__()
    yield
    try:
        with client.as_current():
            report.__exit__(None, None, None)
    except Exception as error:
        logger.warning("%s cannot be written: %s", path, first_line(error))
