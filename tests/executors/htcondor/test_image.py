"""The recipes of the image: what they install, what they copy."""

from __future__ import annotations

import os
import subprocess

import pytest

RECORD = '#!/bin/sh\nprintf "%s " "$(basename "$0")" "$@" >>"$RECORD"\necho >>"$RECORD"\n'


@pytest.fixture
def recorded(tmp_path):
    """Commands that write down how they were called, in the place of those of an image."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("python3", "uv"):
        (folder / name).write_text(RECORD)
        (folder / name).chmod(0o755)
    return {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "RECORD": str(tmp_path / "record"),
    }


def test_the_image_reads_root_urls(repository, recorded, tmp_path):
    script = repository / "condor" / "install.sh"
    subprocess.run(["sh", script, repository], check=True, env=os.environ | recorded)
    *_, install, check = (tmp_path / "record").read_text().splitlines()
    assert install.rstrip() == "uv pip install --system --no-cache -c constraints.txt .[xrootd]"
    for module in ("XRootD.client", "fsspec_xrootd", "coffea", "torch"):
        assert module in check


def test_both_recipes_start_from_one_base(repository):
    docker = (repository / "condor" / "Dockerfile").read_text()
    apptainer = (repository / "condor" / "flashbrew.def").read_text()
    (base,) = (line.split()[1] for line in docker.splitlines() if line.startswith("FROM "))
    assert f"From: {base}\n" in apptainer


def test_an_apptainer_image_gets_what_git_knows_of(repository, tmp_path):
    definition = (repository / "condor" / "flashbrew.def").read_text()
    setup = definition.partition("%setup\n")[2].partition("\n%")[0]
    clone, image = tmp_path / "clone", tmp_path / "image"
    for name in ("flows/a.py", "a name.txt", ".venv/bin/python", "out/report.json"):
        path = clone / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    git = ["git", "-C", clone, "-c", "safe.directory=*"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "flows", "a name.txt"], check=True)
    (clone / "flows/a.py").write_text("changed")
    environment = os.environ | {"APPTAINER_ROOTFS": str(image)}
    subprocess.run(["sh", "-eu", "-c", setup], cwd=clone, env=environment, check=True)
    copied = {
        str(path.relative_to(image / "opt/flashbrew")): path.read_text()
        for path in (image / "opt/flashbrew").rglob("*")
        if path.is_file()
    }
    assert copied == {"flows/a.py": "changed", "a name.txt": "a name.txt"}
