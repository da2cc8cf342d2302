"""Looking into bundles."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from flows.bundle import Bundle
from flows.card import Card, Range
from flows.layout import ConditionColumn, ObjectLayout
from flows.testing import toy_layout, toy_table
from flows.training import TrainingSettings, train_object


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    layout = ObjectLayout("jet", "Jet", "GenJet", (ConditionColumn("GenJet_pt", "GeV"),))
    card = Card("object", "toy.jet", layout, {}, {"GenJet_pt": Range(15.0, 900.0)}, era="2018")
    content = Bundle(card, {"flow.weight": torch.ones(2, 3)})
    return content.save(tmp_path_factory.mktemp("bundles") / "jet"), content.digest


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    settings = TrainingSettings(hidden=16, bins=4, embedding=(8,)).quick(1)
    content = train_object(toy_table(400), toy_layout(), settings)
    return content, content.save(tmp_path_factory.mktemp("trained") / "toy")


def test_inspect_prints_the_card(flashbrew, bundle):
    path, digest = bundle
    status, out, _ = flashbrew("bundle", "inspect", path)
    assert status == 0
    for words in ("toy.jet", "6 parameters", digest, "2018", "GenJet_pt", "GeV", "15 to 900"):
        assert words in out
    status, out, _ = flashbrew("bundle", "inspect", path, "--json")
    assert status == 0
    assert '"format_version"' in out


def test_verify_samples_again(flashbrew, trained, tmp_path):
    content, path = trained
    status, out, _ = flashbrew("bundle", "verify", path, "--digest", content.digest)
    assert status == 0
    assert content.digest in out
    assert "64 of 64 reference samples" in out
    moved = {n: t.roll(1, 0) if n.endswith("bias") else t for n, t in content.tensors.items()}
    other = dataclasses.replace(content, tensors=moved).save(tmp_path / "other")
    status, _, err = flashbrew("bundle", "verify", other)
    assert status == 2
    assert "train again" in err
    assert "Traceback" not in err


def test_verify_refuses_what_cannot_be_built(flashbrew, bundle):
    status, _, err = flashbrew("bundle", "verify", bundle[0])
    assert status == 2
    assert "does not describe a model" in err


def test_verify_finds_one_changed_byte(flashbrew, trained, tmp_path):
    path = trained[1]
    for name in ("card.json", "weights.safetensors"):
        copy = tmp_path / name.partition(".")[0]
        copy.mkdir()
        for member in path.iterdir():
            (copy / member.name).write_bytes(member.read_bytes())
        content = bytearray((copy / name).read_bytes())
        content[-3] ^= 1
        (copy / name).write_bytes(content)
        status, _, err = flashbrew("bundle", "verify", copy)
        assert status == 2
        assert name in err
        assert "Traceback" not in err


def test_a_wrong_pin_and_a_missing_bundle(flashbrew, bundle, tmp_path):
    assert flashbrew("bundle", "verify", bundle[0], "--digest", "0" * 64)[0] == 2
    assert flashbrew("bundle", "inspect", tmp_path / "absent")[0] == 2
