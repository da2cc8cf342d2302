"""Processes of this machine."""

from __future__ import annotations

import subprocess
import sys

START = """
import signal
import loky
from executors.local import _interrupts_blocked

def blocked():
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())

for _ in range(2):
    with loky.ProcessPoolExecutor(1) as pool:
        with _interrupts_blocked():
            there = pool.submit(blocked)
        print(there.result(), blocked())
"""


def test_no_process_is_interrupted_while_it_starts(repository):
    """Python's tracker of resources starts with the first one, and would let interrupts in."""
    command = [sys.executable, "-c", START]
    found = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["True", "False"] * 2
