"""Looking into bundles."""

from __future__ import annotations

import pytest
import torch

from flows.bundle import Bundle
from flows.card import Card, Range
from flows.layout import ConditionColumn, ObjectLayout


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    layout = ObjectLayout("jet", "Jet", "GenJet", (ConditionColumn("GenJet_pt", "GeV"),))
    card = Card("object", "toy.jet", layout, {}, {"GenJet_pt": Range(15.0, 900.0)}, era="2018")
    content = Bundle(card, {"flow.weight": torch.ones(2, 3)})
    return content.save(tmp_path_factory.mktemp("bundles") / "jet"), content.digest


def test_inspect_prints_the_card(flashbrew, bundle):
    path, digest = bundle
    status, out, _ = flashbrew("bundle", "inspect", path)
    assert status == 0
    for words in ("toy.jet", "6 parameters", digest, "2018", "GenJet_pt", "GeV", "15 to 900"):
        assert words in out
    status, out, _ = flashbrew("bundle", "inspect", path, "--json")
    assert status == 0
    assert '"format_version"' in out


def test_verify_finds_one_changed_byte(flashbrew, bundle, tmp_path):
    path, digest = bundle
    assert digest in flashbrew("bundle", "verify", path, "--digest", digest)[1]
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


def test_a_wrong_pin_a_missing_bundle_an_import(flashbrew, bundle, tmp_path):
    assert flashbrew("bundle", "verify", bundle[0], "--digest", "0" * 64)[0] == 2
    assert flashbrew("bundle", "inspect", tmp_path / "absent")[0] == 2
    status, _, err = flashbrew("bundle", "import", bundle[0])
    assert status == 2
    assert "not supported yet" in err
