"""Training from the command line, on a few hundred events of the shipped sample."""

from __future__ import annotations

import json

import pytest
import torch

from commands.train import _beside, _device, main
from flows.bundle import Bundle
from processors.flashsim.processor import FlashSim

SHORT = ["--executor", "iterative", "--threads", "1", "--epochs", "1"]


@pytest.fixture(scope="module")
def fileset(tmp_path_factory):
    """The first 400 events: about 2,000 matched jets."""
    path = tmp_path_factory.mktemp("fileset") / "few.json"
    sample = str(FlashSim.default_inputs()[0])
    files = {sample: {"object_path": "Events", "steps": [[0, 400]]}}
    path.write_text(json.dumps({"ttbar": {"files": files}}))
    return path


@pytest.fixture(scope="module")
def trained(fileset, tmp_path_factory):
    output = tmp_path_factory.mktemp("train") / "jet"
    arguments = ["flashsim.jet", "--fileset", str(fileset), "--output", str(output), *SHORT]
    assert main([*arguments, "--note", "generator=abc"]) == 0
    return output


@pytest.mark.parametrize(("found", "device"), [(False, "cpu"), (True, "cuda")])
def test_a_gpu_is_taken_where_there_is_one(found, device, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: found)
    assert _device("auto") == device
    assert _device("cpu") == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_costs_no_extraction(fileset, tmp_path, capsys):
    output = tmp_path / "bundle"
    arguments = ["flashsim.jet", "--fileset", str(fileset), "--output", str(output)]
    assert run([*arguments, *SHORT, "--device", "cuda"]) == 2
    assert "torch sees no GPU here; use auto or cpu" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_with_its_metrics_is_written(trained):
    card = Bundle.load(trained).card
    assert card.layout.object == "jet"
    assert card.provenance["generator"] == "abc"
    assert card.provenance["settings"]["device"] == ("cuda" if torch.cuda.is_available() else "cpu")
    assert card.provenance["events"] == 400
    assert 0.5 < card.metrics["auc"] <= 1.0
    assert len(card.metrics["closure"]) == len(
        card.layout.target_names + card.layout.category_names
    )
    assert trained.with_suffix(".loss.png").stat().st_size > 10_000


def test_the_same_command_goes_on_from_its_checkpoints(trained, fileset, capsys):
    digest = Bundle.load(trained).digest
    arguments = ["flashsim.jet", "--fileset", str(fileset), "--output", str(trained), *SHORT]
    assert main([*arguments, "--note", "generator=abc"]) == 0
    assert "epoch" not in capsys.readouterr().err
    assert Bundle.load(trained).digest == digest


def test_a_bundle_that_cannot_be_judged_is_not_lost(
    trained, fileset, tmp_path, monkeypatch, capsys
):
    def fail(*_):
        message = "no distance"
        raise ValueError(message)

    monkeypatch.setattr("processors.flashsim.training.evaluate", fail)
    work = ["--work", str(trained.with_name("jet.training"))]
    arguments = ["flashsim.jet", "--fileset", str(fileset), "--output", str(tmp_path / "b"), *SHORT]
    assert main([*arguments, *work]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "b is trained, but could not be judged: flashbrew: no distance" in said
    judged, found = (Bundle.load(path).card for path in (trained, tmp_path / "b"))
    assert found.weights_sha256 == judged.weights_sha256
    assert "closure" not in found.metrics


def test_fine_tuning_names_its_start(trained, fileset, tmp_path):
    output = tmp_path / "tuned"
    arguments = ["flashsim.jet", "--fileset", str(fileset), "--output", str(output), *SHORT]
    assert main([*arguments, "--from", str(trained)]) == 0
    assert Bundle.load(output).card.provenance["start_from"] == Bundle.load(trained).digest


def run(arguments):
    try:
        return main(arguments)
    except SystemExit as left:  # argparse
        return left.code


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["flashsim.tau"], "choose from flashsim.muon, flashsim.jet"),
        (["flashsim.jet", "--note", "generator"], "KEY=VALUE"),
        (["flashsim.jet", "--from", "nowhere"], "nowhere"),
        (["flashsim.jet", "--epochs", "0"], "--epochs must be at least 1, found 0"),
        (["flashsim.jet", "--threads", "-1"], "--threads must be at least 1, found -1"),
        (["flashsim.jet", "--seed", "-1"], "--seed must be at least 0"),
        (["flashsim.jet", "--device", "tpu"], "invalid choice: 'tpu'"),
    ],
)
def test_bad_arguments_end_with_one_sentence(arguments, message, fileset, tmp_path, capsys):
    output = ["--output", str(tmp_path / "bundle"), "--fileset", str(fileset), *SHORT]
    assert run([arguments[0], *output, *arguments[1:]]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize("kind", ["file", "content", "zip"])
def test_a_target_that_cannot_take_the_bundle_costs_no_training(kind, fileset, tmp_path, capsys):
    target = tmp_path / ("bundle.zip" if kind == "zip" else "bundle")
    if kind == "file":
        target.touch()
    else:
        target.mkdir()
        (target / "thesis.tex").touch()
    assert main(["flashsim.jet", "--fileset", str(fileset), "--output", str(target), *SHORT]) == 2
    assert f"--output {target} is a" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [target.name]  # nothing was extracted


def test_too_few_held_out_objects_are_refused(tmp_path, capsys):
    files = {str(FlashSim.default_inputs()[0]): {"object_path": "Events", "steps": [[0, 50]]}}
    fileset = tmp_path / "few.json"
    fileset.write_text(json.dumps({"ttbar": {"files": files}}))
    output = str(tmp_path / "bundle")
    assert main(["flashsim.jet", "--fileset", str(fileset), "--output", output, *SHORT]) == 2
    assert "at least 50 are needed; train on more events" in capsys.readouterr().err


def test_versions_of_a_bundle_share_no_work(tmp_path):
    names = {_beside(tmp_path / f"jet_v1.{n}", ".training").name for n in range(2)}
    assert names == {"jet_v1.0.training", "jet_v1.1.training"}


def test_collision_data_are_refused(real_data, tmp_path, capsys):
    data = real_data / "nano" / "nano_EGammaF_data_100.root"
    assert main(["flashsim.jet", str(data), "--output", str(tmp_path / "b"), *SHORT]) == 2
    assert "collision data cannot be flash-simulated" in capsys.readouterr().err
