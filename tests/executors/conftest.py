"""Small input files and one Dask cluster for the tests of this room."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot


def _write_events(path: Path, events: int, *, first: int = 0, tree: str = "Events") -> Path:
    """Write a file with the least that NanoAODSchema and the counting processor need."""
    rng = np.random.default_rng(first + events)
    number = np.arange(first, first + events, dtype=np.uint64)
    counts = np.full(events, 3)
    content = {
        "run": np.ones(events, np.uint32),
        "luminosityBlock": np.ones(events, np.uint32),
        "event": number,
        "genWeight": rng.normal(1, 2, events).astype(np.float32),
        "GenPart": ak.zip(
            {"pt": ak.unflatten(rng.exponential(30, counts.sum()).astype(np.float32), counts)}
        ),
    }
    with uproot.recreate(path) as file:
        file.mktree(tree, content)
    return path


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two files of 250 and 130 events, numbered from 0 to 379."""
    folder = tmp_path_factory.mktemp("sample")
    return [
        _write_events(folder / "a.root", 250),
        _write_events(folder / "b.root", 130, first=250),
    ]


@pytest.fixture(scope="session")
def write_events() -> Callable[..., Path]:
    """Function that writes a small input file."""
    return _write_events


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
