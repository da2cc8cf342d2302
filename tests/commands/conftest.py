"""The processors of the executors' tests, for the command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOM = Path(__file__).parents[1] / "executors"


@pytest.fixture(scope="session")
def processors() -> str:
    """Path of the processors for tests."""
    return str(ROOM / "counting.py")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Restore what a run sets for its libraries."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def flashbrew(capsys, monkeypatch):
    """Run a command line in this process; return status, standard output, standard error."""
    from run_processor import main

    monkeypatch.setattr("commands.run_options.RETRY_DELAY", 0.01)

    def run(*arguments):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as left:  # argparse
            status = left.code
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out"
