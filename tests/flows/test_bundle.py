"""Bundles: the same bytes, one byte's damage noticed, every refusal says what to do."""

from __future__ import annotations

import dataclasses
import json
import zipfile

import pytest
import torch

from flows.bundle import CARD, LIMITS, WEIGHTS, Bundle, BundleError
from flows.card import FORMAT_VERSION, Card, CardError, Range
from flows.testing import toy_layout


def make(**changes) -> Bundle:
    fields = {
        "kind": "object",
        "name": "toy",
        "layout": toy_layout(),
        "spec": {"hidden": [2, 3]},
        "ranges": {"pt": Range(10.0, 0.1 + 0.2)},
        "provenance": {"fileset": "ab", "lr": 1e-3},
        "metrics": {"loss": [1.5, float("inf")]},
    }
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(2, dtype=torch.int64)}
    return Bundle(Card(**(fields | changes)), tensors)


@pytest.fixture(params=["folder", "bundle.zip"])
def saved(request, tmp_path):
    return make().save(tmp_path / request.param)


def test_round_trip_keeps_everything(saved):
    bundle, loaded = make(), Bundle.load(saved)
    assert loaded.digest == bundle.digest
    assert loaded.card.layout == bundle.card.layout
    assert loaded.card.ranges == bundle.card.ranges
    assert all(torch.equal(loaded.tensors[n], t) for n, t in bundle.tensors.items())
    assert Bundle.load(saved, digest=bundle.digest).digest == bundle.digest


def test_same_content_same_bytes(tmp_path):
    bundle = make()
    shuffled = Bundle(bundle.card, dict(reversed(bundle.tensors.items())))
    assert bundle.to_bytes() == shuffled.to_bytes()
    first, second = bundle.save(tmp_path / "a.zip"), shuffled.save(tmp_path / "b.zip")
    assert first.read_bytes() == second.read_bytes()
    assert Bundle.load(bundle.save(tmp_path / "folder")).digest == Bundle.load(first).digest
    assert sorted(p.name for p in (tmp_path / "folder").iterdir()) == [CARD, WEIGHTS]


@pytest.mark.parametrize("name", [CARD, WEIGHTS])
def test_one_changed_byte_is_noticed_wherever_it_is(tmp_path, name):
    path = make().save(tmp_path / "m") / name
    content = bytearray(path.read_bytes())
    for at in range(0, len(content), max(1, len(content) // 60)):
        content[at] ^= 1
        path.write_bytes(bytes(content))
        with pytest.raises(BundleError, match="m/"):
            Bundle.load(tmp_path / "m")
        content[at] ^= 1
    path.write_bytes(bytes(content))
    Bundle.load(tmp_path / "m")


def test_a_damaged_zip_is_refused(tmp_path):
    path = make().save(tmp_path / "m.zip")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match=r"m\.zip"):
        Bundle.load(path)
    path.write_bytes(b"\x00random" * 50)
    with pytest.raises(BundleError, match="not a readable zip"):
        Bundle.load(path)


def test_a_wrong_digest_names_both(saved):
    with pytest.raises(BundleError, match=f"expected digest {'0' * 64}, found {make().digest}"):
        Bundle.load(saved, digest="0" * 64)


def test_nothing_there(tmp_path):
    with pytest.raises(BundleError, match="no such folder or zip"):
        Bundle.load(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match=f"expected {CARD} and {WEIGHTS}"):
        Bundle.load(tmp_path / "empty")


def test_a_zip_has_exactly_two_members(tmp_path):
    path = make().save(tmp_path / "m.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../evil.py", "import os")
    with pytest.raises(BundleError, match="exactly"):
        Bundle.load(path)


def test_what_is_too_large_is_not_read(tmp_path, monkeypatch):
    path, folder = make().save(tmp_path / "m.zip"), make().save(tmp_path / "m")
    monkeypatch.setitem(LIMITS, CARD, 100)
    for place in (path, folder):
        with pytest.raises(BundleError, match="at most 100"):
            Bundle.load(place)


def rewrite(folder, change):
    file = folder / CARD
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda v: v.update(format_version=99), f"99, this code reads {FORMAT_VERSION}"),
        (lambda v: v.pop("format_version"), "None"),
        (lambda v: v.pop("era"), "era"),
        (lambda v: v.update(extra=1), "extra"),
        (lambda v: v["layout"].pop("targets"), "targets"),
        (lambda v: v["ranges"].update(pt=[1.0]), "card.json"),
        (lambda v: v["ranges"].update(pt=[0.0, 1e9]), "SHA-256"),
    ],
)
def test_other_cards_are_refused_with_the_reason(tmp_path, change, word):
    folder = make().save(tmp_path / "m")
    rewrite(folder, change)
    with pytest.raises(BundleError, match=word):
        Bundle.load(folder)


def test_a_card_that_is_not_json_is_refused(tmp_path):
    folder = make().save(tmp_path / "m")
    for content in (b"{", b"[]", b"\xff\xfe"):
        (folder / CARD).write_bytes(content)
        with pytest.raises(BundleError, match=CARD):
            Bundle.load(folder)


def test_what_is_not_json_cannot_be_saved():
    card = dataclasses.replace(make().card, provenance={"when": object()})
    with pytest.raises(CardError, match="toy"):
        Bundle(card, {}).to_bytes()


def test_nothing_is_left_behind_by_saving_twice(tmp_path):
    folder = make().save(tmp_path / "m")
    make(name="other").save(folder)
    assert Bundle.load(folder).card.name == "other"
    assert len(list(folder.iterdir())) == 2
