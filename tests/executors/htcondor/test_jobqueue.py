"""Importing dask-jobqueue has a side effect that must not reach a run."""

from __future__ import annotations

import subprocess
import sys


def test_ctrl_c_stays_what_it_was(repository):
    code = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import executors.htcondor.pool\n"
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
