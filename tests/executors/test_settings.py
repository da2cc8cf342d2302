"""Sizes of executors."""

from __future__ import annotations

import pytest

from executors.errors import ConfigurationError
from executors.settings import ExecutorSettings


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    monkeypatch.delenv("FLASHBREW_THREADS", raising=False)
    monkeypatch.setattr("executors.settings.available_cores", lambda: 4)


@pytest.mark.parametrize("kind", ["futures", "dask"])
@pytest.mark.parametrize(("workers", "threads"), [(None, 1), (1, 4), (2, 2), (3, 1), (16, 1)])
def test_workers_share_the_cores(kind, workers, threads):
    settings = ExecutorSettings(kind, workers)
    assert settings.threads_per_worker == threads
    assert settings.processes == (workers or 4)
    assert settings.processes * threads <= max(4, settings.processes)


def test_one_process_uses_all_cores():
    assert ExecutorSettings("iterative", workers=7).threads_per_worker == 4


def test_every_library_hears_of_it(monkeypatch):
    environment = ExecutorSettings("futures", workers=2).environment()
    names = {"FLASHBREW_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"}
    assert {environment[name] for name in names} == {"2"}
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    once = ExecutorSettings().environment()["PYTHONWARNINGS"]
    assert once.startswith("error,ignore:")
    monkeypatch.setenv("PYTHONWARNINGS", once)
    assert ExecutorSettings().environment()["PYTHONWARNINGS"] == once


def test_the_user_decides_by_environment(monkeypatch):
    monkeypatch.setenv("FLASHBREW_THREADS", "3")
    assert ExecutorSettings("futures", workers=4).threads_per_worker == 3
    assert ExecutorSettings("futures", workers=4, threads=1).threads_per_worker == 1
    monkeypatch.setenv("FLASHBREW_THREADS", "many")
    with pytest.raises(ConfigurationError, match="FLASHBREW_THREADS"):
        _ = ExecutorSettings().threads_per_worker


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "spark"}, "choose from iterative, futures, dask"),
        ({"kind": "htcondor"}, "needs --workers N"),
        ({"readers": 2}, "needs --executor dask"),
        ({"readers": 0}, "--readers must be at least 1"),
        ({"insecure": True}, "--insecure needs --executor htcondor"),
        ({"workers": 0}, "--workers must be at least 1"),
        ({"threads": 0}, "threads per worker"),
        ({"scheduler": "tcp://h:1"}, "needs --executor dask or casa"),
        ({"kind": "dask", "scheduler": "http://h:1"}, "tcp://HOST:PORT"),
    ],
)
def test_what_cannot_be_done_is_refused(options, message):
    with pytest.raises(ConfigurationError) as caught:
        ExecutorSettings(**options)
    assert message in str(caught.value)
