"""Fixtures that every room shares."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

# a Dask process that does nothing takes 5 % of a core to watch itself, 0.5 % with these; the suite
# keeps a dozen of them. Dask reads its environment when it is imported
os.environ |= {
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "5s",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}


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


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what the smoke tests of continuous integration took together."""
    reports = [
        one for kind in ("passed", "failed", "") for one in terminalreporter.getreports(kind)
    ]
    smoke = [one for one in reports if "smoke" in getattr(one, "keywords", ())]
    pool = float(os.environ.get("FLASHBREW_POOL_SECONDS", "nan"))
    if smoke and not math.isnan(pool):
        others = sum(one.duration for one in smoke)
        terminalreporter.write_line(
            f"smoke tests: HTCondor {pool:.0f} s, TLS, XRootD, notebooks {others:.0f} s"
        )
