"""Workers of somebody else's scheduler during a run and after it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from executors.dask.guest import guest_workers
from executors.execution import execute
from executors.inputs import kept_files
from executors.inputs.fileset import from_inputs
from executors.inputs.remote import CLIENT
from executors.plan import plan_fileset
from executors.settings import ExecutorSettings

pytestmark = pytest.mark.xdist_group("dask")
NAME = "XRD_STREAMERRORWINDOW"


def environment():
    return {name: os.environ.get(name) for name in CLIENT}


def forget(names):
    for name in names:
        os.environ.pop(name, None)


def restore(values):
    forget(CLIENT)
    os.environ.update(values)


@pytest.fixture
def stranger(scheduler):
    """Client of a scheduler whose workers have one setting of their own, and none of ours."""
    import distributed

    with distributed.Client(scheduler, set_as_default=False) as client:
        before = next(iter(client.run(environment).values()))
        client.run(restore, {"XRD_CONNECTIONRETRY": "4"})
        yield client
        client.run(restore, before)


def test_workers_get_what_their_environment_does_not_say(stranger, monkeypatch):
    monkeypatch.setenv("XRD_CONNECTIONWINDOW", "7")
    monkeypatch.delenv(NAME, raising=False)
    with guest_workers(stranger, "run"):
        found = stranger.run(environment).values()
    assert len(found) == 2
    for one in found:
        assert one == CLIENT | {"XRD_CONNECTIONRETRY": "4", "XRD_CONNECTIONWINDOW": "7"}


def test_no_file_stays_open_after_a_run(stranger, sample, counting):
    plan = plan_fileset(from_inputs(sample), chunk_size=100)
    here = ExecutorSettings("dask", scheduler=stranger.scheduler.address)
    # runs of other tests that were killed may have left one per thread
    before = set().union(*stranger.run(open_files).values())
    assert execute(plan, counting(), here).error is None
    assert set().union(*stranger.run(open_files).values()) <= before
    assert {found[NAME] for found in stranger.run(environment).values()} == {"0"}


def open_files():
    return {kept.run for kept in kept_files._kept.values()}


LOADED = """
from XRootD.client import env
from executors.inputs.remote import use_settings

use_settings({"%s": "3"})
print(env.EnvGetInt("StreamErrorWindow"))
use_settings({"%s": "9"})  # the environment says 3 by now
print(env.EnvGetInt("StreamErrorWindow"))
"""


def test_a_client_that_is_loaded_is_told():
    pytest.importorskip("XRootD.client", reason="XRootD for Python is not installed")
    # a process of its own: what the environment said when the client was loaded cannot be changed
    clean = {name: value for name, value in os.environ.items() if name != NAME}
    command = [sys.executable, "-c", LOADED % (NAME, NAME)]
    done = subprocess.run(command, capture_output=True, text=True, env=clean, check=True)
    assert done.stdout.split() == ["3", "3"]
