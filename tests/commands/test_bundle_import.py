"""Foreign models on the command line: the lines of the docs, and what is refused."""

from __future__ import annotations

import json
import re
import shlex
import shutil

import numpy as np
import pytest
import torch

TIMES = "August_06_run_3_3context_1flows_10hl_128hu_2000bs.pth"
COMMAND = re.compile(r"^flashbrew (.*)$", re.MULTILINE)
JETS = {
    "input_dim": 39,
    "context_dim": 20,
    "base_kwargs": {
        "num_steps_maf": 1,
        "num_steps_arqs": 0,
        "num_transform_blocks_maf": 1,
        "use_residual_blocks_maf": False,
        "batch_norm_maf": True,
        "hidden_dim_maf": 64,
        "init_identity": True,
        "affine_type": "softplus",
    },
}


@pytest.fixture
def folder(repository, tmp_path, monkeypatch):
    """A folder with stand-ins of all files that the docs name."""
    normflows, zuko = pytest.importorskip("normflows"), pytest.importorskip("zuko")
    from flows.importers.nflows import build_flow

    torch.manual_seed(0)
    spline = normflows.flows.AutoregressiveRationalQuadraticSpline(1, 10, 128, 3)
    flows = [spline, normflows.flows.LULinearPermute(1)]
    base = normflows.distributions.DiagGaussian(1, trainable=False)
    torch.save(normflows.ConditionalNormalizingFlow(base, flows).state_dict(), tmp_path / TIMES)
    photons = zuko.flows.NSF(16, 5, transforms=5, hidden_features=(256, 256), bins=10)
    torch.save(photons.state_dict(), tmp_path / "flow.pth")
    (tmp_path / "normalisation" / "postEE").mkdir(parents=True)
    for name, size in (("input", 16), ("conditions", 4)):
        for kind in ("means", "std"):
            np.save(tmp_path / "normalisation" / "postEE" / f"{name}_{kind}.npy", np.ones(size))
    jets = {"model_hyperparams": JETS, "model_state_dict": build_flow(JETS)[0].state_dict()}
    torch.save(jets, tmp_path / "Jets_MAF1_epoch470.pt")
    columns = repository / "docs" / "flashsim_jets_columns.json"
    (tmp_path / "docs").mkdir()
    shutil.copy(columns, tmp_path / "docs")
    targets = json.loads(columns.read_text())["targets"]
    names = [t if isinstance(t, str) else t["name"] for t in targets]
    for file, value in (("scale_factors", 1.5), ("ranges", [0, 5])):
        text = json.dumps(dict.fromkeys(names, value))
        (tmp_path / f"{file}_jets.json").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(repository) -> list[list[str]]:
    text = (repository / "docs" / "importers.md").read_text()
    return [shlex.split(line) for line in COMMAND.findall(text)]


def test_the_commands_of_the_docs_run(flashbrew, repository, folder):
    commands = lines(repository)
    assert [c[:3] for c in commands[:3]] == [
        ["bundle", "import", library] for library in ("normflows", "zuko", "nflows")
    ]
    for command in commands:
        status, out, err = flashbrew(*command)
        assert status == 0, err
        assert out
    for name in ("photon_times", "photons_postEE.zip", "flashsim_jets"):
        status, out, _ = flashbrew("bundle", "verify", folder / "bundles" / name)
        assert status == 0
        assert "64 of 64 reference samples" in out
    _, out, _ = flashbrew("bundle", "inspect", folder / "bundles" / "photon_times")
    assert re.search(r"lever_arm_mm\s+6\.0", out)
    assert re.search(r"theta\s+condition\s+deg\s+0 to 180", out)
    assert "lever arm · cot(theta)" in out
    _, out, _ = flashbrew("bundle", "inspect", folder / "bundles" / "photons_postEE.zip")
    peak = r"hoe\s+target\s+1\s+zero-peak\(shift 0\.001, share 0\.99\), log\("
    assert re.search(peak, out)


def test_the_python_of_the_docs_runs(flashbrew, repository, folder, capsys):
    assert flashbrew(*lines(repository)[0])[0] == 0
    text = (repository / "docs" / "importers.md").read_text()
    (code,) = [c for c in re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S) if "import" in c]
    exec(compile(code, "docs/importers.md", "exec"), {})
    assert "(200,)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("drop", "message"),
    [("--lever-arm", "lever arm: 1 mm"), ("--thickness", None)],
)
def test_options_that_are_missing(flashbrew, repository, folder, drop, message):
    command = lines(repository)[0]
    at = command.index(drop)
    status, _, err = flashbrew(*command[:at], *command[at + 2 :])
    assert status == (2 if message else 0)
    assert message is None or message in err
    assert "Traceback" not in err


def test_bad_files_end_with_a_sentence(flashbrew, repository, folder):
    times, photons, jets = lines(repository)[:3]
    (folder / "normalisation" / "postEE" / "input_std.npy").unlink()
    (folder / "ranges_jets.json").write_text("{")
    torch.save(torch.nn.Linear(1, 1), folder / TIMES)
    for command, message in ((times, "refused"), (photons, "input_std.npy"), (jets, "not JSON")):
        status, _, err = flashbrew(*command)
        assert status == 2
        assert message in " ".join(err.split())
        assert "Traceback" not in err
    assert not (folder / "bundles").exists()
