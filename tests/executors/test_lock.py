"""One run per output directory."""

from __future__ import annotations

import json
import os
import time

import pytest

from executors import lock
from executors.errors import ConfigurationError
from executors.lock import NAME, STALE, OutputLock


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
