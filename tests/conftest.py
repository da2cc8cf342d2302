"""Fixtures that every room shares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from executors.credentials import TlsFiles

REPOSITORY = Path(__file__).resolve().parent.parent


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


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """Authority, certificate and key, named as coffea-casa mounts them."""
    from tests.executors.certificates import Authority

    return Authority(tmp_path_factory.mktemp("certificates")).issue()


@pytest.fixture(scope="session")
def tls_scheduler(certificates: TlsFiles) -> Iterator[str]:
    """Address of a Dask scheduler that speaks TLS alone, with two workers."""
    import distributed

    from executors.credentials import security_from_files

    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        protocol="tls://",
        security=security_from_files(certificates),
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
        silence_logs="CRITICAL",
    ) as cluster:
        yield cluster.scheduler_address


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the fault tests to those who ask for their marker, or for a pool."""
    if any(name in config.option.markexpr for name in ("faults", "htcondor")):
        return
    left = [item for item in items if item.get_closest_marker("faults")]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not item.get_closest_marker("faults")]
