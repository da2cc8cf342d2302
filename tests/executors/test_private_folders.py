"""Private folders of runs, those of killed ones too."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time

import pytest

from executors import private_folders
from executors.private_folders import LONGEST, OWNER, private_folder

HOLD = """
import sys, time
from pathlib import Path
from executors.private_folders import private_folder

with private_folder(Path(sys.argv[1])) as folder:
    (folder / "key.pem").touch()
    print(folder, flush=True)
    time.sleep(100)
"""


@pytest.fixture
def other_run(tmp_path, repository):
    """Another run that holds a folder, until it is killed."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "shared")]
    process = subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True)
    yield process, tmp_path / "shared" / process.stdout.readline().strip()
    process.kill()
    process.wait()


def test_the_folder_of_a_killed_run_is_removed_by_the_next(tmp_path, other_run):
    process, theirs = other_run
    with private_folder(tmp_path / "shared") as mine:
        assert stat.S_IMODE(mine.stat().st_mode) == 0o700
        assert (theirs / "key.pem").exists()  # it lives
    process.kill()
    process.wait()
    assert (theirs / "key.pem").exists()
    with private_folder(tmp_path / "shared") as mine:
        assert not theirs.exists()
        assert mine.exists()
    assert list((tmp_path / "shared").iterdir()) == []


def test_a_live_run_keeps_its_folder_whatever_its_age(tmp_path, other_run):
    _, theirs = other_run
    then = time.time() - 2 * LONGEST
    os.utime(theirs, (then, then))
    with private_folder(tmp_path / "shared"):
        assert (theirs / "key.pem").exists()


@pytest.mark.parametrize("key", ["host", "processes"])
@pytest.mark.parametrize(("age", "kept"), [(0.9, True), (1.1, False)])
def test_of_another_machine_or_container_only_the_age_is_known(tmp_path, key, age, kept):
    theirs = tmp_path / "run-theirs"
    theirs.mkdir(mode=0o700)
    nobody = private_folders._machine() | {"pid": 2**30, key: "another"}
    (theirs / OWNER).write_text(json.dumps(nobody))
    then = time.time() - age * LONGEST
    os.utime(theirs, (then, then))
    with private_folder(tmp_path):
        assert theirs.exists() == kept


@pytest.mark.parametrize("content", [None, "{", "[]", '{"host": 1}'])
def test_a_folder_without_owner_is_kept_while_it_is_young(tmp_path, content):
    theirs = tmp_path / "run-theirs"
    theirs.mkdir(mode=0o700)
    if content is not None:
        (theirs / OWNER).write_text(content)
    with private_folder(tmp_path):
        assert theirs.exists()


def test_what_is_no_folder_of_a_run_is_left_alone(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "run-link").symlink_to(tmp_path / "target")
    then = time.time() - 2 * LONGEST
    for name in ("logs", "target"):
        os.utime(tmp_path / name, (then, then))
    with private_folder(tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"logs", "target", "run-link"}


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        (0o755, [OWNER]),
        (0o700, ["results.root"]),
        (0o700, [OWNER, "results.root"]),
        (0o700, ["key.pem"]),
    ],
)
def test_a_folder_that_no_run_made_is_kept_for_ever(tmp_path, mode, names):
    theirs = tmp_path / "run-2018A"
    theirs.mkdir(mode=mode)
    for name in names:
        (theirs / name).write_text(json.dumps(private_folders._machine() | {"pid": 2**30}))
    then = time.time() - 2 * LONGEST
    os.utime(theirs, (then, then))
    with private_folder(tmp_path):
        assert theirs.exists()
