"""The submit files of condor/: what their jobs run."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from commands.run_options import parse


@pytest.mark.parametrize("name", ["files.sub", "pool.sub"])
def test_a_job_that_runs_again_resumes(repository, name):
    text = (repository / "condor" / name).read_text()
    (arguments,) = re.findall(r'^arguments += "(.*)"$', text, flags=re.MULTILINE)
    filled = re.sub(r"\$\(workers\)", "2", arguments.replace("$(more)", ""))
    options = parse(re.sub(r"\$\((\w+)\)", r"\1", filled).split())
    assert (options.resume, options.processor) == (True, "processor")


def test_a_job_waits_whether_a_lock_is_left_behind(repository, tmp_path):
    interpreter = tmp_path / "python"
    interpreter.write_text('#!/bin/sh\necho "$FLASHBREW_OUTLAST_LOCK $*"\n')
    interpreter.chmod(0o755)
    done = subprocess.run(
        [repository / "condor" / "job.sh", "flashsim", "--resume"],
        env=os.environ | {"FLASHBREW_PYTHON": str(interpreter)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1 -m run_processor flashsim --resume\n"
