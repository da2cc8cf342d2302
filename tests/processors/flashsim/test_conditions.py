from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from processors.errors import MissingBranchError, NotSimulationError
from processors.flashsim.conditions import (
    conditions,
    has_pileup,
    read_gen,
    read_pileup,
    require_simulation,
)
from processors.jagged import flatten
from processors.objects.registry import TABLES
from tests.processors.toynano import toy_content, write_toy


def columns(events: Any, name: str) -> tuple[Any, dict[str, np.ndarray]]:
    table = TABLES[name]
    source = conditions(table, read_gen(events), read_pileup(events))
    return source, {c.name: source.matrix[:, i] for i, c in enumerate(table.conditions)}


def test_muon_rows_are_last_copy_muons(open_events: Callable, nano: Path) -> None:
    events = open_events(nano)
    source, found = columns(events, "muon")
    particles = flatten(events.GenPart, ["pdgId", "statusFlags", "pt"])
    expected = (np.abs(particles["pdgId"]) == 13) & (particles["statusFlags"] >> 13 & 1 == 1)
    assert len(source.index) == expected.sum() > 50
    assert np.array_equal(found["GenMuon_pt"], particles["pt"][expected])
    assert np.array_equal(found["GenMuon_charge"], -np.sign(particles["pdgId"][expected]))
    assert (found["GenMuon_isLastCopy"] == 1).all()
    start = particles.offsets[source.event]
    assert np.array_equal(start + source.index, source.position)


def test_jet_rows_are_all_generator_jets(open_events: Callable, nano: Path) -> None:
    events = open_events(nano)
    source, found = columns(events, "jet")
    jets = flatten(events.GenJet, ["pt", "partonFlavour", "hadronFlavour"])
    assert np.array_equal(found["GenJet_pt"], jets["pt"])
    flags = [found[f"GenJet_parton_{n}"] for n in ("light", "gluon", "c", "b", "undefined")]
    assert (np.sum(flags, axis=0) == 1).all()
    assert np.array_equal(found["GenJet_hadron_b"] == 1, jets["hadronFlavour"] == 5)
    assert (found["ClosestMuon_dr"] <= found["SecondClosestMuon_dr"]).all()
    lonely = found["ClosestMuon_dr"] == 1
    assert lonely.any()
    assert (found["ClosestMuon_pt"][lonely] == 0).all()
    assert np.array_equal(found["Pileup_nPU"], np.asarray(events.Pileup.nPU)[source.event])


def test_conditions_do_not_depend_on_the_range_that_is_read(
    open_events: Callable, nano: Path
) -> None:
    for name in TABLES:
        whole, _ = columns(open_events(nano), name)
        parts = [columns(open_events(nano, a, b), name)[0] for a, b in ((0, 61), (61, 150))]
        assert np.array_equal(whole.matrix, np.concatenate([p.matrix for p in parts]))
        assert np.array_equal(whole.index, np.concatenate([p.index for p in parts]))


def test_collision_data_are_refused(open_events: Callable, real_data: Path) -> None:
    events = open_events(real_data / "nano" / "nano_EGammaF_data_100.root")
    with pytest.raises(NotSimulationError, match=r"EGammaF.*collision data.*Run on simulated"):
        require_simulation(events)


def test_a_missing_condition_is_named(open_events: Callable, tmp_path: Path) -> None:
    content = toy_content(5)
    del content["GenJet"].columns["hadronFlavour"]
    events = open_events(write_toy(tmp_path / "cut.root", content))
    with pytest.raises(MissingBranchError, match=r"GenJet_hadronFlavour.*cut\.root.*Keep them"):
        require_simulation(events)


def test_a_part_of_the_pileup_is_an_error_that_names_the_rest(
    open_events: Callable, tmp_path: Path
) -> None:
    content = toy_content(5)
    assert has_pileup(open_events(write_toy(tmp_path / "all.root", content)))
    del content["Pileup_nPU"], content["Pileup_pudensity"]
    events = open_events(write_toy(tmp_path / "part.root", content))
    with pytest.raises(MissingBranchError, match=r"Pileup_nPU, Pileup_pudensity.*part\.root"):
        require_simulation(events)


def test_pileup_may_be_absent_as_a_whole(open_events: Callable, nanogen: Path) -> None:
    events = open_events(nanogen)
    require_simulation(events)
    assert not has_pileup(events)
