from __future__ import annotations

import hashlib
import re

import numpy as np
import uproot

from samples.timing.bar import Bar
from samples.timing.muons import Gun
from samples.timing.production import Request, batch

REQUEST = Request(120, 0, Gun(theta=(20.0, 160.0), momentum=(0.5, 10.0)), Bar(layers=3))


def test_the_shipped_bars_are_what_their_page_says(repository):
    content = (repository / "samples" / "data" / "bars.root").read_bytes()
    page = (repository / "docs" / "timing.md").read_text()
    assert len(content) <= 2_000_000
    assert re.findall(r"[0-9a-f]{64}", page) == [hashlib.sha256(content).hexdigest()]


def test_the_shipped_bars_are_those_of_the_command(repository):
    tree = uproot.open(repository / "samples" / "data" / "bars.root")["events"]
    muons = batch(REQUEST, 0).muons
    momentum = tree["MCParticles.momentum.z"].array()[:, 0].to_numpy()
    # exact but for the last bit of another processor's cosine
    assert np.allclose(momentum, muons.momentum * np.cos(muons.theta), rtol=1e-12)
    assert np.array_equal(tree["MCParticles.vertex.z"].array()[:, 0].to_numpy(), muons.z)
