"""The inputs and processors of the executors' tests, for the command line."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

ROOM = Path(__file__).parents[1] / "executors"
_spec = importlib.util.spec_from_file_location("executors_fixtures", ROOM / "conftest.py")
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)

certificates = _fixtures.certificates
tls_scheduler = _fixtures.tls_scheduler
sample = _fixtures.sample
write_events = _fixtures.write_events
xrootd = _fixtures.xrootd


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
