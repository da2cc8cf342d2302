"""What is checked before the first chunk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import distributed
import pytest

from executors.dask import checks
from executors.dask.checks import (
    OutputProbe,
    WorkerCheck,
    check_versions,
    check_workers,
    code_digest,
    lasting,
    software,
)
from executors.errors import ConfigurationError

pytestmark = pytest.mark.xdist_group("dask")


@pytest.fixture
def client(scheduler):
    with distributed.Client(scheduler, set_as_default=False) as client:
        yield client


def test_workers_of_this_environment_pass(client, tmp_path):
    check_workers(client, OutputProbe(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_cannot_answer_leaves_no_token(client, tmp_path, monkeypatch):
    def unanswered(*_):
        msg = "worker tcp://gone cannot be checked"
        raise ConfigurationError(msg)

    monkeypatch.setattr(checks, "check_versions", lambda _: None)
    monkeypatch.setattr(checks, "_ask", unanswered)
    with pytest.raises(ConfigurationError, match="cannot be checked"):
        check_workers(client, OutputProbe(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_software_names_what_decides_a_number():
    found = software()
    assert found["python"] == ".".join(map(str, sys.version_info[:2]))
    assert found["distributed"] == distributed.__version__
    assert {"numpy", "torch", "coffea", "flashbrew"} <= set(found)
    assert "torch" not in sys.modules or found["torch"] != "absent"


def test_other_code_has_another_digest(repository, tmp_path):
    copy = tmp_path / "executors"
    shutil.copytree(repository / "executors", copy)
    (copy / "errors.py").write_text((copy / "errors.py").read_text() + "\nCHANGED = True\n")
    command = [
        sys.executable,
        "-c",
        "from executors.dask.checks import code_digest as d; print(d())",
    ]
    environment = os.environ | {"PYTHONPATH": str(repository)}
    digests = [
        subprocess.run(
            command, cwd=place, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()
        for place in (repository, tmp_path)
    ]
    assert digests[0] == code_digest()
    assert digests[0] != digests[1]


def test_a_worker_with_other_code_is_refused(client, monkeypatch):
    monkeypatch.setattr(checks, "code_digest", lambda: "0" * 16)
    with pytest.raises(ConfigurationError, match=r"worker tcp.* has code of flashbrew .*0{16}"):
        check_versions(client)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """Address of a scheduler whose one worker says that it has another awkward."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "plugin.py").write_text(
        "import importlib.metadata as m\n"
        "real = m.version\n"
        "def dask_setup(worker):\n"
        "    m.version = lambda name: '1.10.5' if name == 'awkward' else real(name)\n"
    )
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
        preload=[str(folder / "plugin.py")],
        silence_logs="CRITICAL",
    ) as cluster:
        yield cluster.scheduler_address


def test_a_worker_of_another_environment_is_refused(foreign):
    with (
        distributed.Client(foreign, set_as_default=False) as client,
        pytest.raises(ConfigurationError, match=r"worker tcp.* has awkward 1\.10\.5") as caught,
    ):
        check_workers(client)
    assert "\n" not in str(caught.value)


def test_a_worker_that_comes_later_is_not_let_in(foreign):
    """The worker closes itself; its nanny goes with it, so no one brings it back."""
    with distributed.Client(foreign, set_as_default=False) as client:
        client.register_plugin(WorkerCheck())
        deadline = time.monotonic() + 20
        while client.scheduler_info()["workers"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_worker_that_passes_stays(client, tmp_path):
    client.register_plugin(WorkerCheck(OutputProbe(tmp_path)))
    try:
        assert client.submit(sum, [1, 2]).result(20) == 3
        assert len(client.scheduler_info()["workers"]) == 2
    finally:
        client.unregister_worker_plugin(WorkerCheck.name)


def test_a_probe_for_later_finds_what_it_looks_for_until_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "_SYNC", 0.2)
    (tmp_path / "here").mkdir()
    (tmp_path / "another").mkdir()
    with lasting(OutputProbe(tmp_path / "here")) as probe:
        assert [probe(), probe()] == [None, None]
        assert "is another one there" in OutputProbe(tmp_path / "another", probe.token)()
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize("name", ["scheduler", "workers"])
def test_another_dask_is_refused(client, monkeypatch, name):
    found = client.get_versions()
    one = found["scheduler"] if name == "scheduler" else next(iter(found["workers"].values()))
    one["packages"]["distributed"] = "2024.1.0"
    monkeypatch.setattr(client, "get_versions", lambda: found)
    with pytest.raises(ConfigurationError, match=r"has distributed 2024\.1\.0, the client has"):
        check_versions(client)


def test_a_worker_without_flashbrew_is_told_to_install_it(client, monkeypatch):
    def absent():
        raise ModuleNotFoundError("No module named 'executors'", name="executors")  # noqa: EM101

    monkeypatch.setattr(checks, "software", absent)
    with pytest.raises(ConfigurationError, match="has no module 'executors'; install flashbrew"):
        checks._ask(client, absent)


def test_an_output_that_workers_cannot_write_stops_the_run(client, tmp_path):
    gone = tmp_path / "gone"
    with pytest.raises(ConfigurationError, match=r"worker tcp.* cannot be written"):
        check_workers(client, OutputProbe(gone, "token").__call__)


class Elsewhere(OutputProbe):
    """Workers find a directory of the same name on another disk."""

    def ready(self):
        ready = super().ready()
        return type(self)(self.directory, ready.token + "-not-there")


class Silent(OutputProbe):
    """Workers write to a disk of their own: nothing shows up here."""

    def __call__(self):
        return None

    def ready(self):
        return type(self)(self.directory, super().ready().token)


@pytest.mark.parametrize(
    ("kind", "message"),
    [(Elsewhere, "is another one there"), (Silent, "do not show here within 0 s")],
)
def test_a_directory_that_is_not_shared_is_refused(tmp_path, monkeypatch, kind, message):
    monkeypatch.setattr(checks, "_SYNC", 0.4)

    class OneWorker:
        """Calls in this process: classes of a test are not known to workers."""

        def run(self, function, on_error):
            return {"tcp://worker": function()}

    monkeypatch.setattr(checks, "check_versions", lambda client: None)
    with pytest.raises(ConfigurationError, match=message):
        check_workers(OneWorker(), kind(tmp_path))
    assert [path.name for path in tmp_path.iterdir() if "not-there" in path.name] == []
