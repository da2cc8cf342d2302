from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import uproot

from processors.objects.statusflags import STATUS_FLAGS
from samples.truth import gen_particles, heavy_hadrons, stored_mass

BIT = {name: 1 << i for i, name in enumerate(STATUS_FLAGS)}
# Mean of each flag over 200 events is known to 0.02-0.04 per class, tunes differ besides.
TOLERANCE = 0.12


@pytest.fixture(scope="module")
def particles(ttbar_truth):
    return ttbar_truth.GenPart


def has(particles, name):
    return (particles.statusFlags & BIT[name]) > 0


def test_size_is_that_of_real_files(particles):
    assert 40 < ak.mean(ak.num(particles)) < 65


def test_mothers_point_into_the_list_and_every_line_ends(particles):
    mother = particles.genPartIdxMother
    assert ak.all(mother < ak.num(particles))
    assert ak.all(mother >= -1)
    for links in mother.to_list():
        at = list(range(len(links)))
        for _ in range(len(links)):
            at = [links[i] if i >= 0 else -1 for i in at]
        assert set(at) <= {-1}


def test_two_tops_decay_to_w_and_b(particles):
    last_top = (abs(particles.pdgId) == 6) & has(particles, "isLastCopy")
    assert ak.all(ak.sum(last_top, axis=1) == 2)
    parent = particles.pdgId[particles.genPartIdxMother]
    w = (particles.pdgId == 24) & (particles.status == 22)
    assert ak.all(parent[w] == 6)
    tau = (abs(particles.pdgId) == 16) & has(particles, "isDirectHardProcessTauDecayProduct")
    assert ak.sum(tau) > 0
    assert ak.all(abs(parent[tau]) == 15)


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ("isHardProcess", "fromHardProcess"),
        ("fromHardProcessBeforeFSR", "fromHardProcess"),
        ("isPromptTauDecayProduct", "isTauDecayProduct"),
        ("isDirectTauDecayProduct", "isTauDecayProduct"),
        ("isDirectPromptTauDecayProduct", "isDirectTauDecayProduct"),
        ("isDirectHardProcessTauDecayProduct", "isHardProcessTauDecayProduct"),
        ("isDecayedLeptonHadron", "isLastCopy"),
    ],
)
def test_flags_imply_each_other(particles, narrow, wide):
    assert ak.sum(has(particles, narrow)) > 0
    assert ak.all(has(particles, wide)[has(particles, narrow)])


def test_prompt_excludes_decay_products(particles):
    of_decay = has(particles, "isTauDecayProduct") | has(particles, "isDirectHadronDecayProduct")
    assert not ak.any(of_decay & has(particles, "isPrompt"))


def test_flags_agree_with_a_slow_walk(ttbar_record, ttbar_line):
    """Prompt, first and last copy of one event, found with lists instead of compiled kernels."""
    r, end = ttbar_record, ttbar_record.offsets[1]
    family = ttbar_line.family
    parts = gen_particles(r, ttbar_line)[0]
    listed = {float(pt): flags for pt, flags in zip(parts.pt, parts.statusFlags, strict=True)}
    pts = ttbar_line.pt[:end].astype(np.float32)
    values, times = np.unique(pts, return_counts=True)
    once = set(values[times == 1].tolist()) & set(listed)
    checked = 0
    for row in range(end):
        if float(pts[row]) not in once:
            continue
        ancestors, at = [], row
        while r.mother[at] >= 0:
            at = r.mother[at]
            ancestors.append(at)
        prompt = not any(family.decayed[a] for a in ancestors)
        mothers = {r.mother[row], r.mother2[row]} - {-1}
        first = not any(r.pdg_id[m] == r.pdg_id[row] for m in mothers)
        bits = int(listed[float(pts[row])])
        assert bool(bits & BIT["isPrompt"]) == prompt
        assert bool(bits & BIT["isFirstCopy"]) == first
        checked += 1
    assert checked > 20


def test_heavy_hadrons_decay_to_no_hadron_of_their_kind(ttbar_record, ttbar_line):
    r = ttbar_record
    rows = heavy_hadrons(ttbar_line, 5)
    assert len(rows) >= 2 * r.events * 0.95  # two b quarks each; b baryons and mesons alike
    assert (r.status[rows] == 2).all()
    for row in rows:
        daughters = np.abs(r.pdg_id[r.daughter[row] : r.daughter2[row] + 1])
        assert not ((daughters // 100 % 10 == 5) | (daughters // 1000 % 10 == 5)).any()


def test_stored_mass_keeps_heavy_particles_alone():
    ids = np.array([6, 24, 5, 13, 21, 521, 211, 22, 22])
    mass = np.array([172.5, 80.0, 4.8, 0.106, 0.0, 5.28, 0.14, 0.5, 2.0], np.float32)
    assert stored_mass(ids, mass).tolist() == pytest.approx([172.5, 80, 0, 0, 0, 5.28, 0, 0, 2])


def test_flags_have_the_frequencies_of_real_ttbar(particles, real_data):
    tree = uproot.open(real_data / "nano" / "nano_tt_v12_200.root")["Events"]
    names = ("pdgId", "status", "statusFlags")
    real = ak.zip({name: tree[f"GenPart_{name}"].array() for name in names})
    classes = {
        "b or c hadrons": lambda p: (abs(p.pdgId) > 400) & (p.status == 2),
        "stable leptons": lambda p: ((abs(p.pdgId) == 11) | (abs(p.pdgId) == 13)) & (p.status == 1),
        "neutrinos": lambda p: (abs(p.pdgId) % 2 == 0) & (abs(p.pdgId) > 11) & (abs(p.pdgId) < 17),
        "tops": lambda p: abs(p.pdgId) == 6,
    }
    for label, select in classes.items():
        for name in STATUS_FLAGS:
            ours, theirs = (ak.mean(has(x[select(x)], name)) for x in (particles, real))
            assert ours == pytest.approx(theirs, abs=TOLERANCE), (label, name)
