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


@pytest.mark.parametrize("name", ["files.sub", "pool.sub", "train.sub"])
def test_jobs_find_credentials_where_the_shell_that_submits_does(repository, name):
    lines = (repository / "condor" / name).read_text().splitlines()
    (given,) = (line.partition("=")[2] for line in lines if line.startswith("getenv"))
    assert given.split(",") == [" X509_USER_PROXY", " BEARER_TOKEN_FILE"]


def test_a_job_has_what_htcondor_takes_back(repository, tmp_path):
    results = tmp_path / "results"
    environment = {"FLASHBREW_PYTHON": "/bin/false", "FLASHBREW_RESULTS": str(results)}
    command = [repository / "condor" / "job.sh", "flashsim"]
    done = subprocess.run(command, env=os.environ | environment, check=False)
    assert done.returncode == 1
    assert results.is_dir()


def test_the_readme_makes_a_file_for_nodes_that_share_nothing(repository, tmp_path):
    page = (repository / "condor" / "README.md").read_text()
    commands = page[page.index("sed '/^queue/d'") :].partition("```")[0]
    (tmp_path / "condor").symlink_to(repository / "condor")
    subprocess.run(["sh", "-eu", "-c", commands], cwd=tmp_path, check=True)
    lines = [line.partition("=") for line in (tmp_path / "nodes.sub").read_text().splitlines()]
    last = {name.strip(): value.strip() for name, _, value in lines}
    assert (last["should_transfer_files"], last["getenv"]) == ("YES", "False")
    assert lines[-1] == ("queue file from $(list)", "", "")
    assert sum(name.startswith("queue") for name, _, _ in lines) == 1


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
