"""Waits between attempts, and what is tried again."""

from __future__ import annotations

import errno
from itertools import pairwise
from uuid import UUID

import pytest

from executors.errors import ConfigurationError
from executors.failures import is_transient, kind_of
from executors.inputs.fileset import FileEntry
from executors.inputs.opening import FileFacts, UnreadableFileError
from executors.plan import plan_fileset
from executors.retry import RetryPolicy

QUICK = RetryPolicy(attempts=3, delay=0.001)


def test_waits_double_differ_by_chunk_and_repeat():
    policy = RetryPolicy(delay=1.0, longest=5.0)
    waits = [[policy.pause(key, n) for n in (1, 2, 3, 4)] for key in "ab"]
    assert waits[0] == [policy.pause("a", n) for n in (1, 2, 3, 4)]
    assert waits[0] != waits[1]
    for wait in waits:
        assert 0.5 <= wait[0] < 1.5 <= 2 * wait[1] < 6
        assert wait[3] <= 5.0
    # 1,000 chunks that fail together come back spread over the whole second, not in one moment
    spread = sorted(policy.pause(str(n), 1) for n in range(1000))
    assert max(b - a for a, b in pairwise(spread)) < 0.02


@pytest.mark.parametrize("numbers", [{"attempts": 0}, {"delay": -1.0}, {"delay": float("inf")}])
def test_numbers_out_of_range(numbers):
    with pytest.raises(ConfigurationError, match="--retr"):
        RetryPolicy(**numbers)


class Flaky:
    def __init__(self, *errors):
        self.errors, self.calls = list(errors), 0

    def __call__(self, *_):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return FileFacts(10, UUID(int=1), rntuple=False)


def test_what_may_pass_is_called_again():
    flaky = Flaky(ConnectionResetError("reset"), TimeoutError("late"))
    assert QUICK.call(flaky, "key")[1] == 3
    for error, calls in ((ConnectionResetError("reset"), 3), (ValueError("bad"), 1)):
        flaky = Flaky(*[error] * 5)
        with pytest.raises(type(error)):
            QUICK.call(flaky, "key")
        assert flaky.calls == calls


class NetworkError(Exception):
    __module__ = "XRootD.client.responses"


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (OSError(errno.EIO, "input/output error"), True),
        (EOFError(), True),
        (ConnectionRefusedError(), True),
        (NetworkError("[3005] no servers"), True),
        (OSError(errno.ENOSPC, "no space left"), False),
        (OSError(errno.EFBIG, "file too large"), False),
        (FileNotFoundError(), False),
        (MemoryError(), False),
        (ValueError("bad"), False),
        (OSError("[3011] Unable to open /a.root; no such file or directory"), False),
        (OSError("[3010] Stating path '/a' is disallowed."), False),
        (OSError("[3011] No servers are available to read the file."), True),
        (OSError("[FATAL] Connection error"), True),
        (ValueError("I/O operation on closed file"), True),
        (TypeError("'ClientResponseError' object is not subscriptable"), True),
        (TypeError("'int' object is not subscriptable"), False),
    ],
)
def test_kinds(error, transient):
    assert is_transient(error) is transient
    assert kind_of(error) == ("transient" if transient else "permanent")


def unreadable(cause):
    error = UnreadableFileError("could not be opened")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("file", "cause", "calls"),
    [
        ("root://host//f.root", OSError("no servers"), 2),
        ("/local.root", OSError(errno.EIO, "input/output error"), 2),
        ("/local.root", OSError("expected 100 bytes, got 3"), 1),
        ("/local.root", None, 1),
    ],
)
def test_files_are_opened_again_where_that_may_help(file, cause, calls):
    inspect = Flaky(unreadable(cause))
    plan = plan_fileset([FileEntry("mc", file)], inspect=inspect, retry=QUICK)
    assert inspect.calls == calls
    assert bool(plan.items) is (calls == 2)
    assert bool(plan.unknown) is (calls == 1)
    if calls == 2:
        assert plan.notes == (f"{file} could only be opened at attempt 2",)
