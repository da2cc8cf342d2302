from __future__ import annotations

import hashlib
import re

import awkward as ak
import uproot

from samples.hardness import generator_hash


def test_default_sample_is_what_its_page_says(repository):
    folder = repository / "samples" / "data"
    content = (folder / "ttbar.root").read_bytes()
    page = (folder / "README.md").read_text()
    assert len(content) <= 4_000_000
    named = re.findall(r"[0-9a-f]{64}", page)
    assert named == [hashlib.sha256(content).hexdigest(), generator_hash()]


def test_default_sample_holds_ttbar_events(repository):
    with uproot.open(repository / "samples" / "data" / "ttbar.root") as file:
        events = file["Events"]
        assert events["event"].array().to_list() == list(range(1, 2001))
        identity, status = events["GenPart_pdgId"].array(), events["GenPart_status"].array()
        assert file["Runs"]["genEventCount"].array().to_list() == [2000]
        assert ak.all(ak.sum((abs(identity) == 6) & (status == 62), axis=1) == 2)
        assert 50 < ak.mean(ak.num(identity)) < 60
