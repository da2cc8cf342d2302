"""The main command from its arguments to its report: real events, shipped bundles, bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import uproot
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory
from jsonschema import Draft202012Validator

from executors.report.build import SCHEMA
from flows.bundle import Bundle
from flows.testing import toy_layout, toy_table
from flows.training import TrainingSettings, train_object
from processors.flashsim.processor import FlashSim

SAMPLE = FlashSim.default_inputs()[0]
EVENTS = 100
pytestmark = pytest.mark.xdist_group("flashsim-command")


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """The first events of the shipped sample in a file of their own."""
    path = tmp_path_factory.mktemp("few") / "few.root"
    copy(path)
    return path


@pytest.fixture
def bare(tmp_path):
    """Options that save the time of the figures."""
    path = tmp_path / "bare.yaml"
    path.write_text("histograms: false\n")
    return ("--config", path)


def copy(path: Path, drop: str = "", tree: str = "Events"):
    """Write the first events again, without the branches that start with ``drop``."""
    with uproot.open(SAMPLE) as source, uproot.recreate(path) as target:
        branches = source["Events"].arrays(entry_stop=EVENTS)
        names = [n for n in branches.fields if not (drop and n.startswith(drop))]
        target.mktree(tree, {n: branches[n].type for n in names})
        target[tree].extend({n: branches[n] for n in names})


def run(flashbrew, output, *inputs):
    return flashbrew("flashsim", *inputs, "--output", output, "--executor", "iterative")


def report_of(output):
    return json.loads((output / "report.json").read_text())


def test_a_run_is_accounted_for_and_its_events_open_in_nanoaod_schema(flashbrew, few, tmp_path):
    output = tmp_path / "out"
    status, out, _ = run(flashbrew, output, few, "--chunksize", 60)
    assert status == 0
    assert "Jet" in out
    report = report_of(output)
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator(schema).validate(report)
    (dataset,) = report["datasets"].values()
    assert dataset["events"]["planned"] == dataset["events"]["written"] == EVENTS
    assert dataset["chunks"]["done"] == 2
    assert {b["digest"] for b in report["bundles"]} == {
        Bundle.load(path).digest for path in FlashSim.default_bundles()
    }
    written = sorted((output / "events").rglob("*.root"))
    assert len(written) == 2
    events = NanoEventsFactory.from_root(
        {str(written[0]): "Events"}, schemaclass=NanoAODSchema
    ).events()
    matched = events.Jet.matched_gen.pt.to_list()
    stored = [
        [genjets[i] for i in indices]
        for genjets, indices in zip(events.GenJet.pt.to_list(), events.Jet.genJetIdx.to_list())
    ]
    assert matched == stored
    assert sum(map(len, stored)) > 100
    assert list((output / "plots").rglob("*.png"))


def test_data_is_refused_and_the_good_file_beside_it_processed(
    flashbrew, few, tmp_path, real_data, bare
):
    collisions = real_data / "nano" / "nano_EGammaF_data_100.root"
    output = tmp_path / "out"
    status, _, err = run(flashbrew, output, few, collisions, *bare)
    assert status == 3
    assert "Traceback" not in err
    text = (output / "report.json").read_text()
    assert collisions.name in text
    assert "GenJet" in text
    report = json.loads(text)
    (dataset,) = report["datasets"].values()
    assert dataset["events"]["written"] == EVENTS
    assert dataset["events"]["failed"] == 100


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_bytes(bytes(range(256)) * 64), ("few.root",)),
        (lambda path: path.write_bytes(SAMPLE.read_bytes()[:200_000]), ("few.root",)),
        (lambda path: copy(path, tree="Data"), ("Events", "Data")),
        (lambda path: copy(path, drop="GenJet_pt"), ("GenJet_pt",)),
        (lambda path: copy(path, drop="GenPart_"), ("GenPart",)),
    ],
    ids=["random bytes", "truncated", "another tree", "no GenJet_pt", "no GenPart"],
)
def test_bad_files_end_with_status_4_and_one_sentence(flashbrew, tmp_path, make, words):
    path, output = tmp_path / "few.root", tmp_path / "out"
    make(path)
    status, out, err = run(flashbrew, output, path)
    assert status == 4
    assert "Traceback" not in out + err
    reasons = json.dumps(report_of(output))
    assert all(word in reasons for word in words)


def test_no_events_are_no_failure(flashbrew, tmp_path, bare):
    path, output = tmp_path / "none.root", tmp_path / "out"
    with uproot.open(SAMPLE) as source, uproot.recreate(path) as target:
        branches = source["Events"].arrays(entry_stop=1)
        target.mktree("Events", {n: branches[n].type for n in branches.fields})
        target["Events"].extend({n: branches[n][:0] for n in branches.fields})
    status, _, _ = run(flashbrew, output, path, *bare)
    assert status == 0
    (dataset,) = report_of(output)["datasets"].values()
    assert dataset["events"]["planned"] == 0


@pytest.mark.parametrize("member", ["card.json", "weights.safetensors"])
def test_a_bundle_with_one_changed_byte_is_refused(flashbrew, few, tmp_path, member):
    shipped = next(p for p in FlashSim.default_bundles() if p.name == "muon")
    bundle = tmp_path / "muon"
    shutil.copytree(shipped, bundle)
    content = bytearray((bundle / member).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / member).write_bytes(content)
    status, _, err = run(flashbrew, tmp_path / "out", few, "--bundle", bundle)
    assert status == 2
    assert member in err
    assert "Traceback" not in err


def test_a_bundle_for_other_columns_is_refused(flashbrew, few, tmp_path):
    settings = TrainingSettings(hidden=16, bins=4, embedding=(8,)).quick(1)
    bundle = train_object(toy_table(400), toy_layout(), settings).save(tmp_path / "toy")
    status, _, err = run(flashbrew, tmp_path / "out", few, "--bundle", bundle)
    assert status == 2
    assert "toy" in err
    assert "Traceback" not in err
