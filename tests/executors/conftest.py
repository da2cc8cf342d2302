"""Processors and one Dask cluster for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def load() -> Callable[[str], Any]:
    """Function that loads a processor of `counting.py` as a user would."""
    from executors.loading import load_class

    place = Path(__file__).with_name("counting.py")
    return lambda name: load_class(f"{place}:{name}", {})


@pytest.fixture(scope="session")
def counting(load) -> type:
    """The counting processor."""
    return load("Counting")


@pytest.fixture(scope="session")
def scheduler():
    """Address of a Dask scheduler with two workers, shared by all tests of a session."""
    from executors.dask.cluster import open_client
    from executors.settings import ExecutorSettings

    with open_client(ExecutorSettings("dask", workers=2)) as client:
        yield client.scheduler.address
