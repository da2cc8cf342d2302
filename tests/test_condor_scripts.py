"""Scripts of condor/ that delete, unmount and stop: only what they made."""

from __future__ import annotations

import os
import subprocess

import pytest

SCRIPTS = {
    "minicondor.sh": ("MINICONDOR_ROOT", ".flashbrew-minicondor"),
    "test-image.sh": ("TEST_IMAGE_ROOT", ".flashbrew-image"),
}
POOL = """#!/bin/sh
echo "$1" >>said
case $1 in status) exit $STATUS ;; up) exit $UP ;; esac
"""


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def call(repository, tmp_path):
    """Run a script as a user who is root by name, with tools that do nothing."""
    program(tmp_path / "bin" / "id", "#!/bin/sh\necho 0\n")
    for name in ("buildah", "debootstrap", "mount", "umount"):
        program(tmp_path / "bin" / name, "#!/bin/sh\n")

    def run(script, root, *arguments):
        variables = {
            "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
            "MINICONDOR_PYTHON": str(tmp_path / "none"),
            SCRIPTS[script][0]: str(root),
        }
        return subprocess.run(
            [repository / "condor" / script, *arguments],
            env=os.environ | variables,
            capture_output=True,
            text=True,
        )

    return run


@pytest.mark.parametrize(
    ("script", "command"),
    [
        ("minicondor.sh", ["up"]),
        ("minicondor.sh", ["down"]),
        ("minicondor.sh", ["purge"]),
        ("test-image.sh", ["purge"]),
        ("test-image.sh", []),
    ],
)
def test_a_directory_of_others_is_left_alone(call, tmp_path, script, command):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.tex").write_text("")
    done = call(script, theirs, *command)
    variable, marker = SCRIPTS[script]
    assert done.returncode == 2
    assert f"{theirs} is in use and not known to be made by {script}" in done.stderr
    assert f"name another {variable}" in done.stderr
    assert f"touch {theirs}/{marker}" in done.stderr
    assert [path.name for path in theirs.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("script", "marker"),
    [
        ("minicondor.sh", ".flashbrew-minicondor"),
        ("minicondor.sh", "etc/flashbrew-minicondor"),
        ("test-image.sh", ".flashbrew-image"),
    ],
)
def test_a_directory_of_the_script_is_deleted_under_any_of_its_names(
    call, tmp_path, script, marker
):
    root = tmp_path / "root"
    (root / marker).parent.mkdir(parents=True)
    (root / marker).write_text("")
    (tmp_path / "link").symlink_to(root)
    done = call(script, f"{tmp_path}/link/", "purge")
    assert done.returncode == 0, done.stderr
    assert not root.exists()


def test_a_name_that_mounts_are_not_listed_under_is_refused(call, tmp_path):
    done = call("minicondor.sh", tmp_path / "a pool", "down")
    assert done.returncode == 2
    assert "must hold no space" in done.stderr


@pytest.mark.parametrize(
    ("status", "up", "said"),
    [
        (1, 0, ["status", "up", "down"]),
        (1, 2, ["status", "up", "down"]),
        (0, 0, ["status", "up"]),
        (0, 2, ["status", "up"]),
    ],
)
def test_a_pool_that_was_up_before_the_tests_stays_up(repository, tmp_path, status, up, said):
    (tmp_path / "Makefile").write_text((repository / "Makefile").read_text())
    program(tmp_path / "condor" / "minicondor.sh", POOL)
    program(tmp_path / ".venv" / "bin" / "python", "#!/bin/sh\n")
    command = ["make", "--old-file=.venv/.installed", "test-htcondor"]
    for name in ("pyproject.toml", "constraints.txt", ".venv/.installed"):
        (tmp_path / name).write_text("")
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"STATUS": str(status), "UP": str(up)},
        capture_output=True,
        text=True,
    )
    assert (tmp_path / "said").read_text().split() == said, done.stderr
    assert (done.returncode == 0) is (up == 0)
