"""Copies at a real XRootD server that go wrong on the way."""

from __future__ import annotations

import functools
import os
import signal
import threading
import time

import pytest

from executors.results.copying import Destination, results_of
from executors.retry import RetryPolicy


class Losing:
    """File system of a server whose disk keeps five bytes of every file."""

    def __init__(self, files, folder):
        self._files, self._folder = files, folder

    def __getattr__(self, name):
        return getattr(self._files, name)

    def stat(self, path, **options):
        place = self._folder / path.strip("/")
        if place.is_file():
            os.truncate(place, 5)
        return self._files.stat(path, **options)


@pytest.fixture
def output(tmp_path):
    for name in ("events/mc/a.root", "report.json", "state/b.npz", ".lock", "plots/.c.png.12"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("nine byte")
    return tmp_path


def test_what_is_for_people_is_copied(output, xrootd):
    assert results_of(output) == ["events/mc/a.root", "report.json"]
    destination = Destination(f"{xrootd.url('far/')}?authz=secret")
    assert "secret" not in destination.url
    destination.probe(output)
    assert destination.copy(output, results_of(output)) == (2, 18, [])
    assert (xrootd.data / "far/events/mc/a.root").read_text() == "nine byte"
    found = [path for path in xrootd.data.rglob("*") if path.is_file()]
    assert len(found) == 2


def test_results_behind_a_link_are_results(output, tmp_path_factory):
    far = tmp_path_factory.mktemp("far") / "events"
    (output / "events").rename(far)
    (output / "events").symlink_to(far)
    assert results_of(output) == ["events/mc/a.root", "report.json"]


def test_a_file_of_another_size_is_not_left_there(output, xrootd, monkeypatch):
    destination = Destination(xrootd.url("far"), RetryPolicy(2, 0.01))
    assert destination.copy(output, ["report.json"]).files == 1
    before = destination._files
    monkeypatch.setattr(destination, "_files", lambda: Losing(before(), xrootd.data))
    copied = destination.copy(output, ["report.json"])
    assert (copied.files, copied.size) == (0, 0)
    assert copied.failed[0][0] == "report.json"
    assert "5 of 9 bytes of report.json arrived" in copied.failed[0][1]
    # the copy of before is whole and in its place
    found = [path for path in xrootd.data.rglob("*") if path.is_file()]
    assert [path.read_text() for path in found] == ["nine byte"]


@pytest.mark.faults  # a minute of waiting for the server
def test_a_server_that_is_gone_is_told_for_every_file(output, xrootd):
    client = pytest.importorskip("XRootD.client")
    for name, value in {"ConnectionWindow": 2, "ConnectionRetry": 1}.items():
        client.EnvPutInt(name, value)
    destination = Destination(xrootd.url("far"), RetryPolicy(2, 0.01))
    xrootd.stop()
    copied = destination.copy(output, results_of(output))
    assert copied.files == 0
    assert [name for name, _ in copied.failed] == results_of(output)
    assert "Connection error" in copied.failed[0][1]


def test_an_interrupt_does_not_wait_for_large_files(output, xrootd, monkeypatch):
    """Each of four files would take a minute."""
    destination = Destination(xrootd.url("far"))
    process = destination._client.CopyProcess
    slow = functools.partialmethod(process.add_job, xrate=10_000_000)
    monkeypatch.setattr(process, "add_job", slow)
    names = [f"{number}.root" for number in range(4)]
    for name in names:
        with (output / name).open("wb") as file:
            file.truncate(600_000_000)
    main = threading.main_thread().ident
    timer = threading.Timer(2.0, signal.pthread_kill, (main, signal.SIGINT))
    started = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        destination.copy(output, names)
    assert time.monotonic() - started < 20
    assert [path for path in xrootd.data.rglob("*") if path.is_file()] == []
