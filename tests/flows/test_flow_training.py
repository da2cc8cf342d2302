"""Flows on tables of contexts with many samples each: what they learn, what is refused."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from flows.bundle import Bundle
from flows.features import Affine, DifferenceTo, Standardise
from flows.flow_training import FlowSettings, FlowTable, train_flow
from flows.layout import ConditionColumn, LayoutError, ObjectLayout, TargetColumn
from flows.noise import Identity
from flows.optimise import Recipe, TrainingError
from flows.reference import compare
from flows.resident import resident
from flows.tables import COMMON_SEED, held_back

LAYOUT = ObjectLayout(
    object="toy",
    collection="Toy",
    source="GenToy",
    conditions=(ConditionColumn("a", "ns", (Standardise(),)), ConditionColumn("b", "1")),
    targets=(TargetColumn("t", "ns", (DifferenceTo("a"), Standardise())),),
)
NUMBERS = Recipe(epochs=30, batch=128, lr=4e-3)
QUICK = FlowSettings(hidden=24, blocks=1, bins=8, samples=16).quick(6)


def table_of(contexts: int, seed: int = 0) -> FlowTable:
    """Times a + exponential of width 1 + b/2, 40 (1 + b) of them per exposure."""
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(-5, 5, contexts), rng.uniform(0, 1, contexts)
    exposure = rng.uniform(0.5, 1.5, contexts)
    numbers = rng.poisson(40 * (1 + b) * exposure)
    counts = np.minimum(numbers, 50)
    width = np.repeat(1 + b / 2, counts)
    t = np.repeat(a, counts) + width * rng.gamma(3.0, size=int(counts.sum()))
    return FlowTable(
        conditions=np.stack([a, b], 1).astype(np.float32),
        counts=counts,
        targets=t[:, None].astype(np.float32),
        groups=np.arange(contexts),
        numbers=numbers,
        exposure=exposure,
    )


@pytest.fixture(scope="module")
def trained() -> Bundle:
    settings = dataclasses.replace(QUICK, numbers=NUMBERS)
    return train_flow(table_of(3000), LAYOUT, settings, definitions={"a": "start"})


def test_samples_follow_the_truth_and_numbers_their_mean(trained):
    model, test = resident(trained, "cpu"), table_of(400, seed=9)
    rows, zero = np.arange(400), np.zeros(400, dtype=np.int64)
    identity = Identity(1, "test", "Toy", zero, zero, rows, zero, zero)
    drawn = model.sample_repeated(test.conditions, np.full(400, 50), identity).targets
    delay = drawn.reshape(400, 50) - test.conditions[:, :1]
    scaled = (delay / (1 + test.conditions[:, 1:] / 2)).ravel()
    # 20,000 samples: 5 % of KS of chance alone are 0.0096; six epochs leave some percent
    assert kstest(scaled, "gamma", args=(3.0,)).statistic < 0.04
    mean = model.mean_numbers(test.conditions).per_exposure
    # 3,000 contexts of 60: right to some percent everywhere, to 0.2 % on the whole
    assert mean == pytest.approx(40 * (1 + test.conditions[:, 1]), rel=0.1)


def test_the_bundle_says_what_it_is_and_gives_its_samples_again(trained, tmp_path):
    card = Bundle.load(trained.save(tmp_path / "toy")).card
    assert card.kind == "flow"
    assert card.spec["definitions"] == {"a": "start"}
    assert set(card.metrics) == {"flow", "numbers"}
    assert card.provenance["contexts"] == 3000
    assert card.ranges["b"].high == pytest.approx(1.0, abs=1e-2)
    assert compare(Bundle.load(tmp_path / "toy")).differing == 0
    assert resident(tmp_path / "toy", "cpu").counts_samples


def test_numbers_that_do_not_fit_are_refused(trained, tmp_path):
    tensors = dict(trained.tensors)
    tensors["numbers.net.0.weight"] = torch.zeros(3, 3)
    broken = dataclasses.replace(trained, tensors=tensors)
    with pytest.raises(ValueError, match="network of numbers does not fit"):
        resident(broken, "cpu")


def test_a_model_without_numbers_says_so():
    table = table_of(300)._replace(numbers=None, exposure=None)
    bundle = train_flow(table, LAYOUT, QUICK.quick(1))
    model = resident(bundle, "cpu")
    assert not model.counts_samples
    with pytest.raises(ValueError, match="does not know how many"):
        model.mean_numbers(table.conditions)


def test_contexts_without_an_exposure_teach_the_flow_alone():
    table = table_of(600)
    unknown = np.arange(600) % 3 == 0
    spoilt = table._replace(
        numbers=np.where(unknown, 10**6, table.numbers),
        exposure=np.where(unknown, np.nan, table.exposure),
    )
    bundle = train_flow(spoilt, LAYOUT, dataclasses.replace(QUICK, numbers=NUMBERS))
    assert bundle.card.provenance["contexts"] == 600
    assert bundle.card.provenance["contexts_without_exposure"] == 200
    mean = resident(bundle, "cpu").mean_numbers(table.conditions).per_exposure
    # 400 contexts of 60; numbers of a million would be far off
    assert mean == pytest.approx(40 * (1 + table.conditions[:, 1]), rel=0.2)
    whole = train_flow(table, LAYOUT, dataclasses.replace(QUICK, numbers=NUMBERS))
    assert "contexts_without_exposure" not in whole.card.provenance
    for name, tensor in whole.tensors.items():
        assert "numbers" in name or torch.equal(tensor, bundle.tensors[name]), name


def test_exposures_that_cannot_train_and_validate_are_refused_first():
    table, told = table_of(300), []
    exposure = np.full(300, np.nan)
    exposure[0] = 1.0
    with pytest.raises(ValueError, match="give more such contexts, or leave out numbers"):
        train_flow(table._replace(exposure=exposure), LAYOUT, QUICK, progress=told.append)
    assert not told


def test_a_half_of_the_groups_can_be_trained_on_with_any_seed():
    table = table_of(300)
    for half in (False, True):
        part = table.take(held_back(table.groups, 0.5, COMMON_SEED) == half)
        loss = train_flow(part, LAYOUT, dataclasses.replace(QUICK.quick(1), seed=COMMON_SEED))
        assert math.isfinite(loss.card.metrics["flow"]["best_loss"])


def test_the_same_table_gives_the_same_bundle_from_a_checkpoint_too(tmp_path):
    table = table_of(500)
    whole = train_flow(table, LAYOUT, QUICK)
    settings = dataclasses.replace(QUICK, checkpoints=tmp_path)

    def stop(now):
        if now.stage == "flow" and now.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_flow(table, LAYOUT, settings, progress=stop)
    seen = []
    resumed = train_flow(table, LAYOUT, settings, progress=lambda now: seen.append(now.epoch))
    assert seen[0] == 4
    for name, tensor in whole.tensors.items():
        assert torch.equal(tensor, resumed.tensors[name]), name


def test_a_checkpoint_of_other_exposures_is_refused(tmp_path):
    table, settings = table_of(300), dataclasses.replace(QUICK.quick(1), checkpoints=tmp_path)
    train_flow(table, LAYOUT, settings)
    with pytest.raises(TrainingError, match="belongs to another training"):
        train_flow(table._replace(exposure=2.0 * table.exposure), LAYOUT, settings)


def test_fine_tuning_starts_where_the_bundle_is_and_widens_its_ranges(trained):
    other = table_of(500, seed=3)
    far = other._replace(conditions=other.conditions + np.float32([0.0, 0.5]))
    tuned = train_flow(far, LAYOUT, QUICK.quick(1), start_from=trained)
    first = tuned.card.metrics["flow"]["train_loss"][0]
    fresh = train_flow(far, LAYOUT, QUICK.quick(1)).card.metrics["flow"]["train_loss"][0]
    assert first < fresh - 0.05
    assert tuned.card.provenance["start_from"] == trained.digest
    assert tuned.card.ranges["b"].high == pytest.approx(1.5, abs=1e-2)
    assert tuned.card.layout == trained.card.layout
    numbers = tuned.card.metrics["numbers"]
    # what the start knew is kept where nothing is better, so never is it worse
    assert numbers["best_loss"] <= numbers["start_loss"]


def test_flows_of_several_targets_learn_too():
    rng = np.random.default_rng(1)
    a = rng.normal(size=2000).astype(np.float32)
    x = np.stack([a + rng.normal(size=2000), 2 * a + 0.1 * rng.normal(size=2000)], 1)
    layout = dataclasses.replace(
        LAYOUT,
        conditions=(ConditionColumn("a"),),
        targets=(TargetColumn("x", transforms=(Standardise(),)), TargetColumn("y")),
    )
    one = np.ones(2000, dtype=np.int64)
    table = FlowTable(a[:, None], one, x.astype(np.float32), np.arange(2000))
    settings = dataclasses.replace(QUICK, samples=1).quick(12)
    loss = train_flow(table, layout, settings).card.metrics["flow"]["validation_loss"]
    # the density of the truth, in latent units: 1 nat above a standard normal in x, 3.7 in y
    assert loss[-1] < 2 * 0.5 * math.log(2 * math.pi * math.e) - 1.5
    assert loss[-1] < loss[0]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"counts": np.ones(300, dtype=np.int64)}, "targets has shape"),
        ({"conditions": np.full((300, 2), np.nan, np.float32)}, "conditions hold values"),
        ({"exposure": None}, "go together"),
        ({"exposure": np.zeros(300)}, "exposures must be positive"),
        ({"exposure": np.full(300, np.inf)}, "exposures must be positive and finite"),
        ({"groups": np.arange(4)}, "groups has shape"),
    ],
)
def test_tables_that_do_not_fit_are_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        train_flow(table_of(300)._replace(**change), LAYOUT, QUICK)


def test_other_columns_are_no_start(trained):
    other = dataclasses.replace(LAYOUT, targets=(TargetColumn("s", "ns", (Affine(2.0),)),))
    with pytest.raises(LayoutError, match="other target names"):
        train_flow(table_of(300), other, QUICK, start_from=trained)
