"""What continuous integration does where something cannot be tested."""

from __future__ import annotations

import shutil
import subprocess

import pytest

TOOLS = ("bash", "dirname", "env", "grep", "mktemp", "rm", "tail", "timeout")
POOL = """#!/bin/sh
case "$1" in
  status) exit 1 ;;
  able) [ -n "$ABLE" ] || { echo "minicondor.sh: the mirror does not answer" >&2; exit 2; } ;;
  up) [ -n "$UP" ] || { echo "minicondor.sh: no slot after 30 s" >&2; exit 2; } ;;
esac
"""


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def machine(tmp_path, repository):
    """A clone with the scripts alone, on a machine with few programs, whose user is root."""
    for name in ("pool-smoke", "tool"):
        program(tmp_path / ".ci" / name, (repository / ".ci" / name).read_text())
    program(tmp_path / "condor" / "minicondor.sh", POOL)
    for name in TOOLS:
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    program(tmp_path / "bin" / "id", "#!/bin/sh\necho ${USER_ID:-0}\n")
    program(tmp_path / "python", "#!/bin/sh\nexit $TESTS\n")

    def run(*command, **variables):
        environment = {"PATH": str(tmp_path / "bin"), "TMPDIR": str(tmp_path), "CI": "true"}
        environment["MINICONDOR_PYTHON"] = str(tmp_path / "python")
        done = subprocess.run(
            command, cwd=tmp_path, env=environment | variables, capture_output=True, text=True
        )
        return done.returncode, done.stdout

    run.folder = tmp_path
    return run


@pytest.mark.parametrize(
    ("variables", "status", "said"),
    [
        ({"USER_ID": "1000"}, 0, "NOT TESTED: HTCondor pool: it needs root"),
        ({"ABLE": ""}, 0, "NOT TESTED: HTCondor pool: minicondor.sh: the mirror does not answer"),
        ({"ABLE": "1", "UP": ""}, 1, "the HTCondor pool does not work: minicondor.sh: no slot"),
        ({"ABLE": "1", "UP": "1", "TESTS": "0"}, 0, "HTCondor pool after"),
        ({"ABLE": "1", "UP": "1", "TESTS": "1"}, 1, "HTCondor pool after"),
    ],
)
def test_a_pool_that_can_be_there_and_is_not_is_a_failure(machine, variables, status, said):
    code, out = machine(".ci/pool-smoke", **variables)
    assert (code, said in out) == (status, True), out


@pytest.mark.parametrize(
    ("update", "install", "status", "said"),
    [
        (100, 0, 3, "thing is not installed, and no Debian mirror answers"),
        (0, 100, 1, "thing-package cannot be installed"),
        (0, 0, 0, ""),
    ],
)
def test_a_package_that_can_be_there_and_is_not_is_a_failure(
    machine, update, install, status, said
):
    script = f"#!/bin/sh\ncase $1 in update) exit {update} ;; install) exit {install} ;; esac\n"
    program(machine.folder / "bin" / "apt-get", script)
    code, out = machine(".ci/tool", "thing", "thing-package")
    assert code == status, out
    assert out.startswith(said)


def test_a_program_that_is_there_is_left_alone(machine):
    assert machine(".ci/tool", "grep", "grep") == (0, "")
