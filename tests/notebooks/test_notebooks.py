"""The notebooks run from top to bottom against a scheduler that is addressed as coffea-casa's."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import nbclient
import nbformat
import pytest

from executors.dask.casa import SECRETS_VARIABLE
from executors.settings import CASA_VARIABLE

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NAMES = ("flashsim", "lazy", "timing")
FIGURES = {"flashsim": 3, "lazy": 1, "timing": 4}
SAID = {
    "flashsim": ("2,000 events in 4 chunks", "2,000 of 2,000 events, 0 failures"),
    "lazy": ("2 workers", "full: 7 branches", "flash: 23 branches"),
    "timing": ("2,000 of 2,000 events, 0 failures", "1,500 of 1,500 events", "KS per muon"),
}
"""What only a run over all events, on all workers, reading nothing else, prints."""


def opened(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_every_notebook_is_executed():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_not_kept(name):
    for cell in code(opened(name)):
        assert cell.outputs == []
        assert cell.execution_count is None
        assert cell.metadata == {}


@pytest.mark.slow
@pytest.mark.smoke
@pytest.mark.timeout(600)  # a training among them, beside other tests
@pytest.mark.xdist_group("dask")
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_from_top_to_bottom(name, tls_scheduler, certificates, monkeypatch):
    monkeypatch.setenv(CASA_VARIABLE, tls_scheduler)
    monkeypatch.setenv(SECRETS_VARIABLE, str(certificates.ca.parent))
    notebook = opened(name)
    client = nbclient.NotebookClient(
        notebook, timeout=240, resources={"metadata": {"path": str(FOLDER)}}
    )
    client.execute()
    keep(notebook, name)
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert all(line in printed for line in SAID[name]), printed
    assert "Warning" not in printed
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == FIGURES[name]


def keep(notebook, name):
    """Write the executed notebook and its figures to ``$FLASHBREW_NOTEBOOKS`` for eyes."""
    if not os.environ.get("FLASHBREW_NOTEBOOKS"):
        return
    folder = Path(os.environ["FLASHBREW_NOTEBOOKS"])
    nbformat.write(notebook, folder / f"{name}.ipynb")
    for number, cell in enumerate(code(notebook)):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                picture = base64.b64decode(output.data["image/png"])
                (folder / f"{name}-{number}.png").write_bytes(picture)
