"""Muon by muon: what a perfect model gets, what a wrong one gets, how well that is known."""

from __future__ import annotations

import numpy as np
import pytest

from flows.engine.context_only import MOST_SAMPLES
from flows.noise import Identity
from flows.resident import resident
from processors.timing.agreement import DRAWS, _draw, agreement
from processors.timing.conditions import conditions_of
from processors.timing.processor import Timing
from processors.timing.tables import PhotonTable

MUONS = 400


@pytest.fixture(scope="module")
def model():
    return resident(Timing.default_bundles()[0], "cpu")


def drawn(model, late=0.0, muons=MUONS):
    """A table of the model's own photons, 25 to 150 per muon, all of them late by some ns."""
    rng = np.random.default_rng(5)
    z, theta = rng.uniform(-700, 600, muons), rng.uniform(25, 155, muons)
    contexts = np.stack([z, theta, rng.uniform(1, 9, muons)], axis=1)
    counts, zero = rng.integers(25, 150, muons), np.zeros(muons, dtype=np.int64)
    noise = Identity(9, "truth", "PhotonTime", zero, zero, np.arange(muons), zero, zero)
    given = conditions_of(model.card, contexts)
    times = model.sample_repeated(given, counts, noise).targets + late
    return PhotonTable(*contexts.T, zero, zero + 1.0, counts, counts, np.arange(muons), times)


def definitions(model):
    return model.card.spec["definitions"]


def test_photons_of_the_model_itself_are_as_far_as_chance_says(model):
    every, away = agreement(model, drawn(model), definitions(model))
    # evenly spread random numbers: 0.88 for 20, 0.92 for 50, 0.95 for 100, 0.94 for 300 photons
    assert every.ks_per_muon_chance == pytest.approx(0.935, abs=0.03)
    assert every.ks_per_muon == pytest.approx(
        every.ks_per_muon_chance, abs=4 * every.ks_per_muon_error
    )
    # ratios scatter by 0.3; quartiles of 400 are known to 6 %
    assert every.ks_per_muon_error == pytest.approx(1.2533 * 0.3 / MUONS**0.5, rel=0.2)
    assert away == every._replace(what=away.what)


def test_photons_of_another_distribution_are_farther_than_chance(model):
    every, _ = agreement(model, drawn(model, late=0.5), definitions(model))
    assert every.ks_per_muon_chance == pytest.approx(0.935, abs=0.03)
    assert every.ks_per_muon > every.ks_per_muon_chance + 5 * every.ks_per_muon_error


def test_the_gun_may_stand_anywhere_before_the_bar(model):
    table, near = drawn(model), definitions(model)
    arm, gap = near["lever_arm_mm"], near["gap_mm"]
    far = near | {"lever_arm_mm": arm + 19.0, "gap_mm": gap + 19.0}
    assert agreement(model, table, far) == agreement(model, table, near)


def test_one_muon_has_no_error_and_few_photons_have_no_ratio(model):
    table = drawn(model, muons=1)
    every, _ = agreement(model, table, definitions(model))
    assert every.ks_per_muon > 0
    assert every.ks_per_muon_error is None
    few = table._replace(kept=np.array([5]), number=np.array([5]), time=table.time[:5])
    every, _ = agreement(model, few, definitions(model))
    found = every.ks_per_muon, every.ks_per_muon_error, every.ks_per_muon_chance
    assert found == (None, None, None)
    assert every.ks > 0


def test_single_bad_muons_do_not_widen_the_error(model):
    """One muon in twenty with all photons 5 ns late: the median hardly moves, nor its error."""
    table = drawn(model)
    good, _ = agreement(model, table, definitions(model))
    late = np.repeat(np.arange(MUONS) % 20 == 0, table.kept)
    shifted = table._replace(time=np.where(late, table.time + 5.0, table.time))
    bad, _ = agreement(model, shifted, definitions(model))
    assert bad.ks_per_muon == pytest.approx(good.ks_per_muon, abs=4 * good.ks_per_muon_error)
    assert bad.ks_per_muon_error == pytest.approx(good.ks_per_muon_error, rel=0.3)


def test_a_muon_may_have_more_photons_than_an_identity_has_noise_for(model):
    """Beside it, those of the others are drawn as they are without it."""
    table, other = drawn(model, muons=20), drawn(model, muons=1)
    many = 30_000  # ten times as many, 300,000, are drawn for them
    assert many * DRAWS > MOST_SAMPLES
    given = conditions_of(model.card, np.concatenate([table.contexts, other.contexts]))
    counts = np.append(table.kept, many) * DRAWS
    both, _ = _draw(model, given, counts, 1, "agreement")
    few, _ = _draw(model, given[:-1], counts[:-1], 1, "agreement")
    assert np.array_equal(both[: len(few)], few)
    times = both[len(few) :]
    assert len(np.unique(times)) > 0.99 * len(times)  # float32 has so many: nothing comes twice
    whole = np.array([many])
    bright = other._replace(kept=whole, number=whole, time=times[:many])
    every, _ = agreement(model, bright, definitions(model), seed=2)
    assert every.photons == many
    # 1.9 times the mean of Kolmogorov's distribution is exceeded once in 100
    assert every.ks_per_muon < 1.9
