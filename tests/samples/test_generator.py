from __future__ import annotations

import numpy as np
import pytest

from samples.generator import PROCESSES, collide, pythia

CODES_STABLE, CODE_DECAYED = 1, 2


def seed(number):
    return np.random.SeedSequence([number])


def test_each_event_keeps_the_energy_and_momentum_of_the_beams(ttbar_record):
    r = ttbar_record
    event = np.repeat(np.arange(r.events), np.diff(r.offsets))
    stable = r.status == CODES_STABLE
    for column, total in ((r.px, 0), (r.py, 0), (r.pz, 0), (r.energy, 13_000)):
        summed = np.bincount(event[stable], column[stable], r.events)
        assert np.allclose(summed, total, atol=0.5)  # Pythia checks events to 1e-4 of the energy


def test_each_event_keeps_the_charge_of_the_beams(ttbar_record):
    r = ttbar_record
    event = np.repeat(np.arange(r.events), np.diff(r.offsets))
    assert np.array_equal(np.bincount(event, r.charge, r.events), np.full(r.events, 2.0))


def test_links_stay_inside_their_event(ttbar_record):
    r = ttbar_record
    event = np.repeat(np.arange(r.events), np.diff(r.offsets))
    for links in (r.mother, r.mother2, r.daughter, r.daughter2):
        some = links >= 0
        assert some.any()
        assert np.array_equal(event[links[some]], event[some])


def test_stable_particles_have_no_daughters_and_decayed_ones_do(ttbar_record):
    r = ttbar_record
    assert (r.daughter[r.status == CODES_STABLE] < 0).all()
    assert (r.daughter[r.status == CODE_DECAYED] >= 0).all()
    assert set(np.abs(r.pdg_id[r.status == 4])) == {2212}


def test_long_lived_hadrons_do_not_decay(ttbar_record):
    kaons = ttbar_record.pdg_id == 310
    assert kaons.sum() > 50
    assert (ttbar_record.status[kaons] == CODES_STABLE).all()


def test_b_hadrons_fly_some_millimetres(ttbar_record):
    r = ttbar_record
    b = (np.abs(r.pdg_id) == 521) & (r.status == CODE_DECAYED)
    lengths = r.lxy[r.daughter[b]]
    assert 0.02 < np.median(lengths) < 2.0  # cm; c tau is 0.049 cm, boosts are 2 to 20


def test_same_seed_same_events_whatever_came_before():
    first = collide("ttbar", 3, seed(1))
    collide("ttbar", 4, seed(2))
    again = collide("ttbar", 3, seed(1))
    other = collide("ttbar", 3, seed(3))
    for name in ("offsets", "pdg_id", "px", "lxy", "mother"):
        assert np.array_equal(getattr(first, name), getattr(again, name)), name
    assert not np.array_equal(first.offsets, other.offsets)


def test_a_shorter_batch_is_the_beginning_of_a_longer_one():
    short, long = collide("ttbar", 2, seed(4)), collide("ttbar", 3, seed(4))
    assert np.array_equal(short.px, long.px[: short.offsets[-1]])


def test_unknown_process_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'tbar' is unknown; choose one of ttbar, zmumu"):
        pythia("tbar")


def test_dijet_weights_undo_the_bias():
    info = collide("qcd", 150, seed(1)).info
    assert info["pthat"].min() >= 15.0
    flat = info["weight"] * (info["pthat"] / 15.0) ** 4
    assert np.allclose(flat, 1.0, rtol=0.01)  # quark masses shift the pTHat that is reported
    hard = info["pthat"] > 100.0
    assert hard.mean() > 0.1  # drawn often
    assert info["weight"][hard].sum() < 0.01 * info["weight"].sum()  # and rare


@pytest.mark.parametrize(
    ("process", "resonance", "low", "high"), [("zmumu", 23, 50, 200), ("vbf_hmumu", 25, 124, 126)]
)
def test_muon_pairs_come_from_their_resonance(process, resonance, low, high):
    r = collide(process, 20, seed(1))
    event = np.repeat(np.arange(r.events), np.diff(r.offsets))
    muons = np.flatnonzero((np.abs(r.pdg_id) == 13) & (r.status != CODES_STABLE))
    stable = np.flatnonzero((np.abs(r.pdg_id) == 13) & (r.status == CODES_STABLE))
    assert len(muons) + len(stable) >= 40
    at = np.flatnonzero((r.pdg_id == resonance) & (r.status == 22))
    assert np.array_equal(event[at], np.arange(20))
    assert ((r.mass[at] > low) & (r.mass[at] < high)).mean() > 0.9


def test_every_process_names_what_it_switches_on():
    assert set(PROCESSES) == {"ttbar", "zmumu", "qcd", "vbf_hmumu"}
