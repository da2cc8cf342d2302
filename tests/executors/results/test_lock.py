"""One run per output directory."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from executors.errors import ConfigurationError
from executors.results import lock
from executors.results.lock import NAME, STALE, OutputLock


def age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_second_run_is_refused_and_told_who(tmp_path):
    with OutputLock(tmp_path), pytest.raises(ConfigurationError) as caught:
        OutputLock(tmp_path).__enter__()
    assert f"in use by process {os.getpid()} on" in str(caught.value)
    assert "another --output" in str(caught.value)


def test_the_lock_goes_with_the_run(tmp_path):
    with OutputLock(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []
    with OutputLock(tmp_path):
        pass


@pytest.mark.parametrize(("seconds", "taken"), [(STALE - 20, False), (STALE + 5, True)])
def test_a_silent_lock_is_taken_over_after_its_time(tmp_path, seconds, taken):
    held = tmp_path / NAME
    held.write_text(json.dumps({"host": "gone", "pid": 1, "token": "old"}))
    age(held, seconds)
    if not taken:
        with pytest.raises(ConfigurationError, match="process 1 on gone"):
            OutputLock(tmp_path).__enter__()
        return
    with OutputLock(tmp_path):
        assert json.loads(held.read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_lock_counts_by_its_age(tmp_path):
    held = tmp_path / NAME
    held.write_text("{")
    with pytest.raises(ConfigurationError, match="in use"):
        OutputLock(tmp_path).__enter__()
    age(held, STALE + 5)
    with OutputLock(tmp_path):
        pass


def test_a_living_run_keeps_its_lock_fresh(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.02)
    with OutputLock(tmp_path):
        age(tmp_path / NAME, 3 * STALE)
        deadline = time.monotonic() + 5
        while time.time() - (tmp_path / NAME).stat().st_mtime > STALE:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_run_that_was_replaced_leaves_the_other_lock_alone(tmp_path):
    first = OutputLock(tmp_path)
    first.__enter__()
    age(tmp_path / NAME, STALE + 5)
    with OutputLock(tmp_path):
        first.__exit__(None, None, None)
        assert (tmp_path / NAME).exists()


HOLD = """
import sys, time
from pathlib import Path
from executors.errors import ConfigurationError
from executors.results.lock import OutputLock
directory, seconds = Path(sys.argv[1]), float(sys.argv[2])
(directory / f"ready-{sys.argv[3]}").touch()
while not (directory / "go").exists():
    time.sleep(0.001)
try:
    with OutputLock(directory):
        print("taken", flush=True)
        time.sleep(seconds)
except ConfigurationError as error:
    print("refused:", error)
"""


@pytest.fixture
def hold(repository, tmp_path):
    """Start a process that takes the lock once the file ``go`` is there."""
    started = []

    def start(seconds, go=True):
        command = [sys.executable, "-c", HOLD, str(tmp_path), str(seconds), str(len(started))]
        process = subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True)
        started.append(process)
        if go:
            (tmp_path / "go").touch()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_two_processes(hold, tmp_path):
    first = hold(60)
    assert first.stdout.readline() == "taken\n"
    with pytest.raises(ConfigurationError, match=f"in use by process {first.pid} on"):
        OutputLock(tmp_path).__enter__()
    first.send_signal(signal.SIGKILL)
    first.wait()
    with pytest.raises(ConfigurationError, match=f"in use by process {first.pid} on"):
        OutputLock(tmp_path).__enter__()  # it may be alive: nobody can know for 60 s
    age(tmp_path / NAME, STALE + 1)
    with OutputLock(tmp_path):
        assert hold(0).communicate()[0].startswith("refused: output directory")


def test_a_job_that_was_killed_outlasts_its_own_lock(hold, tmp_path, monkeypatch):
    monkeypatch.setenv(lock.PATIENCE, "1")
    monkeypatch.setattr(lock, "LOOK", 0.02)
    first = hold(60)
    assert first.stdout.readline() == "taken\n"
    first.send_signal(signal.SIGKILL)
    first.wait()
    age(tmp_path / NAME, STALE - 1)
    with OutputLock(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()


def test_a_job_is_refused_once_another_run_shows_that_it_lives(tmp_path, monkeypatch):
    monkeypatch.setenv(lock.PATIENCE, "1")
    monkeypatch.setattr(lock, "LOOK", 0.02)
    monkeypatch.setattr(lock, "BEAT", 0.5)
    started = time.monotonic()
    with OutputLock(tmp_path), pytest.raises(ConfigurationError, match="in use by process"):
        OutputLock(tmp_path).__enter__()
    assert 0.2 < time.monotonic() - started < STALE / 2


def test_of_many_processes_one_takes_over(hold, tmp_path):
    (tmp_path / NAME).write_text(json.dumps({"host": "gone", "pid": 1, "token": "old"}))
    age(tmp_path / NAME, 2 * STALE)
    processes = [hold(2, go=False) for _ in range(6)]
    while len(list(tmp_path.glob("ready-*"))) < 6:
        time.sleep(0.01)
    (tmp_path / "go").touch()
    answers = [process.communicate()[0] for process in processes]
    assert sorted(answer.partition(":")[0].strip() for answer in answers) == [
        *["refused"] * 5,
        "taken",
    ]


@pytest.fixture(params=[False, True], ids=["Ctrl-C", "Ctrl-C ignored"])
def handlers(request):
    """Signals as in a run, started in the foreground or in the background of a shell."""
    to_restore = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    interrupted = signal.SIG_IGN if request.param else signal.default_int_handler
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    for number, handler in to_restore.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_a_run_that_slept_too_long_stops(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.02)
    with OutputLock(tmp_path) as first:
        first.require()
        (tmp_path / NAME).write_text(json.dumps({"token": "other"}))
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):  # the heartbeat looks whose lock it is
            time.sleep(10)
        assert time.monotonic() - started < 5
        with pytest.raises(ConfigurationError, match="taken over by another run while this one"):
            first.require()
    assert (tmp_path / NAME).exists()


class Unreadable:
    """The lock's content cannot be read the first times."""

    def __init__(self, times):
        self.left = times
        self.read = lock._content

    def __call__(self, path):
        self.left -= 1
        if self.left >= 0:
            raise OSError(errno.ESTALE, "Stale file handle")
        return self.read(path)


def test_a_lock_that_cannot_be_read_for_a_moment_is_not_lost(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(lock, "LOOK", 0.01)
    with OutputLock(tmp_path) as held:
        monkeypatch.setattr(lock, "_content", Unreadable(3))
        held.require()
        assert caplog.text.count("cannot be read") == 3
        monkeypatch.setattr(lock, "_content", Unreadable(1000))
        with pytest.raises(OSError, match="Stale"):
            held.require()
        monkeypatch.undo()


def test_a_heartbeat_outlives_a_disk_that_does_not_answer(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(lock, "BEAT", 0.02)
    monkeypatch.setattr(lock, "_content", Unreadable(3))
    with OutputLock(tmp_path):
        age(tmp_path / NAME, 30)
        deadline = time.monotonic() + 20
        while time.time() - (tmp_path / NAME).stat().st_mtime > 10:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert caplog.text.count("cannot be renewed") == 3
    assert "taken over" not in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_gate_left_behind_does_not_bar_the_way(tmp_path):
    for path in (tmp_path / NAME, tmp_path / f"{NAME}.takeover"):
        path.mkdir() if path.suffix == ".takeover" else path.write_text("{}")
        age(path, STALE + 5)
    with OutputLock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
