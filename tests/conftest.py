"""Fixtures that every room shares."""

from __future__ import annotations

import math
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
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
# on this machine a server is there or is not; XRootD's client reads this when it is first loaded
os.environ |= {"XRD_CONNECTIONWINDOW": "2", "XRD_CONNECTIONRETRY": "1"}


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


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two files of 250 and 130 events, numbered from 0 to 379."""
    from tests.executors.input_files import write_events

    folder = tmp_path_factory.mktemp("sample")
    return [
        write_events(folder / "a.root", 250),
        write_events(folder / "b.root", 130, first=250),
    ]


@pytest.fixture(scope="session")
def write_events() -> Callable[..., Path]:
    """Function that writes a small input file."""
    from tests.executors.input_files import write_events

    return write_events


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Authority, certificate and key, named as coffea-casa mounts them."""
    from tests.executors.certificates import Authority

    return Authority(tmp_path_factory.mktemp("certificates")).issue()


@pytest.fixture(scope="session")
def tls_scheduler(certificates):
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


@pytest.fixture
def xrootd() -> Iterator[Any]:
    """An XRootD server over an empty folder of its own."""
    from tests.executors.xrootd import Server, Unavailable

    pytest.importorskip("XRootD", reason="XRootD for Python is not installed: flashbrew[xrootd]")
    folder = Path(tempfile.mkdtemp(prefix="flashbrew-xrootd-"))  # others may not enter tmp_path
    folder.chmod(0o755)
    server = None
    try:
        server = Server(folder)
        yield server
    except Unavailable as reason:
        pytest.skip(str(reason))
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder)


def pytest_configure() -> None:
    """Let signals do what they do: in the background of a shell, or under nohup, some are ignored.

    Processes that tests start would inherit that.
    """
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


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
