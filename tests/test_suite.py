"""The suite itself, as continuous integration runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CRASHING = """
import os, signal

def test_before(): pass

def test_crash(): os.kill(os.getpid(), signal.SIGKILL)

def test_after(): pass
"""


def test_a_worker_that_crashes_is_named_and_the_run_ends(tmp_path):
    """Without the option in pyproject.toml this waits for ever, and the timeout ends it."""
    (tmp_path / "test_it.py").write_text(CRASHING)
    (command,) = re.findall(r"python -m pytest (-n .*)", (ROOT / "Makefile").read_text())
    settings = ("-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"))
    settings = (*settings, "--rootdir", str(tmp_path))
    environment = {key: value for key, value in os.environ.items() if "PYTEST" not in key}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *command.split(), *settings, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "crashed while running 'test_it.py::test_crash'" in done.stdout
    assert "1 failed, 2 passed" in done.stdout
