"""Training of photon times: small tables, recipes."""

from __future__ import annotations

import numpy as np
import pytest

from flows.bundle import Bundle
from flows.optimise import Recipe
from flows.resident import resident
from flows.tables import COMMON_SEED, held_back
from processors.timing import training
from processors.timing.conditions import conditions_of
from processors.timing.config import PhotonsConfig
from processors.timing.photons import Photons
from processors.timing.processor import Timing
from processors.timing.tables import save_photons
from processors.timing.training import (
    HALVES,
    PHOTON_TRAINING,
    Table,
    _flow_table,
    _recipe_of_numbers,
)
from samples.timing.bar import photon_yield

RUN = {"seed": 1, "threads": 1}


@pytest.fixture(scope="module")
def table(bars, run_bars, tmp_path_factory):
    config = PhotonsConfig(output=str(tmp_path_factory.mktemp("table")))
    return PHOTON_TRAINING.load(run_bars(Photons(config), bars)["outputs"], {})


def train(table: Table):
    """A model after one epoch of its flow, and what was told of every epoch."""
    told = []
    bundle = PHOTON_TRAINING.train(table, RUN, {"epochs": 1}, told.append, None)
    return bundle, told


def numbers_at(bundle, z):
    contexts = np.stack([z, np.full(len(z), 80.0), np.full(len(z), 5.0)], axis=1)
    given = conditions_of(bundle.card, contexts)
    return resident(bundle, "cpu").mean_numbers(given).per_exposure


def test_ninety_muons_teach_numbers_in_a_hundred_epochs(table):
    bundle, told = train(table)
    assert [one.epoch for one in told if one.stage == "numbers"] == list(range(1, 101))
    z = np.array([-500.0, -200.0, 100.0, 300.0, 500.0])
    # 180 sensors, those of a quarter of the muons decide; found within 7 %
    assert numbers_at(bundle, z) == pytest.approx(photon_yield(1.0, 770.0 - z), rel=0.2)


def test_an_epoch_has_twenty_steps_where_rows_are_few():
    assert [_recipe_of_numbers(rows).batch for rows in (1, 180, 1_000, 10_239)] == [8, 9, 50, 511]
    for rows in (10_240, 300_000):
        # of the shipped model
        recipe = Recipe(epochs=100, batch=512, lr=3e-3, patience=100)
        assert _recipe_of_numbers(rows) == recipe


def test_one_row_without_energy_does_not_switch_off_numbers(table, caplog):
    energy = table.photons.energy.copy()
    energy[:3] = np.nan, -1.0, 0.0
    photons = table.photons._replace(energy=energy)
    spoilt = _flow_table(photons, photons.contexts)
    assert "learnt without some muons: 3 of 180 rows have no positive energy" in caplog.text
    assert np.flatnonzero(np.isnan(spoilt.exposure)).tolist() == [0, 1, 2]
    assert np.array_equal(spoilt.numbers, photons.number)
    bundle, told = train(Table(table.definitions, photons))
    assert bundle.card.provenance["contexts_without_exposure"] == 3
    assert any(one.stage == "numbers" for one in told)
    metrics = PHOTON_TRAINING.evaluate(bundle, Table(table.definitions, photons), 1)
    assert metrics["numbers_over_mean"] == pytest.approx(1.0, abs=0.1)


def test_without_any_energy_numbers_are_not_learnt(table, caplog):
    photons = table.photons._replace(energy=np.full(180, np.nan))
    dark = _flow_table(photons, photons.contexts)
    assert dark.numbers is None
    assert dark.exposure is None
    assert "not learnt: 180 of 180 rows" in caplog.text


def test_a_gun_farther_from_the_bar_changes_nothing(table, monkeypatch):
    """The same muons with z at the entrance of the bar, 1 and 20 mm from their vertex."""
    shipped = Bundle.load(Timing.default_bundles()[0])
    definitions = table.definitions | {"lever_arm_mm": 20.0, "gap_mm": 20.0}
    far = Table(definitions, table.photons)
    judged = [PHOTON_TRAINING.evaluate(shipped, one, 1) for one in (table, far)]
    assert judged[0] == judged[1]
    learnt = []
    monkeypatch.setattr(training, "train_flow", lambda told, *rest, **more: learnt.append(told))
    for one in (table, far):
        PHOTON_TRAINING.train(one, RUN, {}, print, shipped)
    assert np.array_equal(learnt[0].conditions, learnt[1].conditions)


def test_halves_are_common_to_all_runs(table, tmp_path):
    path = tmp_path / "t.npz"
    save_photons(path, table.definitions, table.photons)
    second = held_back(table.photons.muon, 0.5, COMMON_SEED)
    for half, chosen in zip(HALVES, (~second, second), strict=True):
        found = PHOTON_TRAINING.load([str(path)], {"muons": half}).photons
        assert np.array_equal(found.muon, table.photons.muon[chosen])
