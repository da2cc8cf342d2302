"""Fixtures that every room shares."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _cache_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what runs remember of input files out of the user's cache directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLASHBREW_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test know what another one found in an input file."""
    monkeypatch.setenv("FLASHBREW_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real NanoAOD files: ``$FLASHBREW_DATA``, else ``../shared/data``."""
    default = REPOSITORY.parent / "shared" / "data"
    folder = Path(os.environ.get("FLASHBREW_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no folder of real files at {folder}; set FLASHBREW_DATA to run this test")
    return folder


def pytest_collection_finish() -> None:
    """Keep torch to one thread, where it was imported at all.

    Its threads wait for each other by spinning: beside another worker of the suite each small
    product lasts as long as the scheduler likes (one file of the engine: 225 s against 31 s).
    """
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the fault tests to those who ask for their marker, or for a pool."""
    if any(name in config.option.markexpr for name in ("faults", "htcondor")):
        return
    left = [item for item in items if item.get_closest_marker("faults")]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not item.get_closest_marker("faults")]
