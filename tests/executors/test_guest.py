"""Workers of somebody else's scheduler during a run and after it."""

from __future__ import annotations

import os

import pytest

from executors import kept_files
from executors.execution import execute
from executors.fileset import from_inputs
from executors.guest import visiting
from executors.plan import plan_fileset
from executors.remote import CLIENT, use_settings
from executors.settings import ExecutorSettings

pytestmark = pytest.mark.xdist_group("dask")
NAME = "XRD_STREAMERRORWINDOW"


def environment():
    return {name: os.environ.get(name) for name in CLIENT}


def forget(names):
    for name in names:
        os.environ.pop(name, None)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """Cluster whose workers were started without any settings of ours, one with its own."""
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            local_directory=str(tmp_path_factory.mktemp("dask")),
            env={"XRD_CONNECTIONRETRY": "4"},
            silence_logs="CRITICAL",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_workers_get_what_their_environment_does_not_say(stranger, monkeypatch):
    monkeypatch.setenv("XRD_CONNECTIONWINDOW", "7")
    monkeypatch.delenv(NAME, raising=False)
    stranger.run(forget, [name for name in CLIENT if name != "XRD_CONNECTIONRETRY"])
    with visiting(stranger, "run"):
        (found,) = stranger.run(environment).values()
    assert found == CLIENT | {"XRD_CONNECTIONRETRY": "4", "XRD_CONNECTIONWINDOW": "7"}


def test_no_file_stays_open_after_a_run(stranger, sample, counting):
    stranger.run(forget, [NAME])
    plan = plan_fileset(from_inputs(sample), chunk_size=100)
    here = ExecutorSettings("dask", scheduler=stranger.scheduler.address)
    assert execute(plan, counting(), here).error is None
    assert list(stranger.run(open_files).values()) == [0]
    (found,) = stranger.run(environment).values()
    assert found[NAME] == "0"


def open_files():
    return len(kept_files._kept)


def test_a_client_that_is_loaded_is_told(monkeypatch):
    env = pytest.importorskip("XRootD.client.env", reason="XRootD for Python is not installed")
    monkeypatch.delenv(NAME, raising=False)
    before = env.EnvGetInt("StreamErrorWindow")
    try:
        use_settings({NAME: "3"})
        assert env.EnvGetInt("StreamErrorWindow") == 3
        use_settings({NAME: "9"})  # the environment says 3 by now
        assert env.EnvGetInt("StreamErrorWindow") == 3
    finally:
        env.EnvPutInt("StreamErrorWindow", before)
        os.environ.pop(NAME)
