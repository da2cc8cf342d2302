"""Training: tables are checked, quality on a toy, resuming, fine-tuning, the same bundle twice."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from flows.features import Log1p
from flows.layout import LayoutError
from flows.objectmodel import ObjectModel
from flows.optimise import History, Recipe, TrainingError, optimise
from flows.resident import resident
from flows.tables import check_table, fit_layout, prepare, split
from flows.testing import toy_identity, toy_layout, toy_table
from flows.training import TrainingSettings, train_object

SMALL = TrainingSettings(hidden=32, bins=6, embedding=(32, 16))


@pytest.fixture(scope="module")
def trained():
    settings = dataclasses.replace(
        SMALL,
        flow=Recipe(epochs=10, batch=256, lr=4e-3),
        categories=Recipe(epochs=12, batch=256, lr=4e-3),
        efficiency=Recipe(epochs=8, batch=256, lr=4e-3),
    )
    return train_object(toy_table(18_000), toy_layout(), settings)


def test_trained_model_agrees_with_fresh_objects(trained):
    rows = 20_000
    fresh = toy_table(rows, seed=9)
    drawn = resident(trained).simulate(fresh.conditions, toy_identity(rows))
    assert abs(drawn.kept.mean() - fresh.reconstructed.mean()) < 0.015
    for t, column in enumerate(toy_layout().targets):
        distance = ks_2samp(drawn.targets[:, t], fresh.targets[:, t]).statistic
        assert distance < 0.03, column.name
        for spike in column.spikes:
            share = [(a[:, t] == np.float32(spike)).mean() for a in (drawn.targets, fresh.targets)]
            assert abs(share[0] - share[1]) < 0.01, column.name
    for k, category in enumerate(toy_layout().categories):
        for value in category.values:
            share = [(a[:, k] == value).mean() for a in (drawn.categories, fresh.categories)]
            assert abs(share[0] - share[1]) < 0.02, category.name


def test_trained_model_keeps_what_belongs_together(trained):
    """The two taggers share a spike and follow each other; the id follows both."""
    fresh = toy_table(20_000, seed=9)
    drawn = resident(trained).simulate(fresh.conditions, toy_identity(20_000))
    failed = drawn.targets[:, 2:4] == -1
    assert (failed[:, 0] == failed[:, 1]).mean() > 0.99
    both = ~failed.any(1)
    assert np.corrcoef(drawn.targets[both, 2:4].T)[0, 1] > 0.98
    assert (drawn.categories[failed.all(1), 1] == 0).mean() > 0.97


def test_the_card_tells_how_it_was_made(trained):
    card = trained.card
    assert card.ranges["pt"].low >= 10.0
    assert card.provenance["reconstructed_objects"] == toy_table(18_000).reconstructed.sum()
    flow = card.metrics["flow"]
    assert len(flow["train_loss"]) == len(flow["validation_loss"]) == 10
    assert flow["validation_loss"][-1] < flow["validation_loss"][0]
    assert card.metrics["efficiency_mean"] == pytest.approx(
        card.metrics["efficiency_true"], abs=0.04
    )
    assert all(not t.needs_fit() for c in card.layout.targets for t in c.transforms)


def test_the_same_table_gives_the_same_bundle():
    digests = {train_object(toy_table(800), toy_layout(), SMALL.quick(1)).digest for _ in range(2)}
    assert len(digests) == 1


class _Stop(Exception):
    """Interrupts a training from its progress call."""


def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path):
    table, settings = toy_table(800), SMALL.quick(3)
    whole = train_object(table, toy_layout(), settings)

    def stop(progress):
        if (progress.stage, progress.epoch) == ("flow", 2):
            raise _Stop

    halted = dataclasses.replace(settings, checkpoints=tmp_path)
    with pytest.raises(_Stop):
        train_object(table, toy_layout(), halted, progress=stop)
    seen = []
    resumed = train_object(
        table, toy_layout(), halted, progress=lambda p: seen.append((p.stage, p.epoch))
    )
    assert seen == [("flow", 3)]
    for name, tensor in whole.tensors.items():
        same = {"rtol": 0, "atol": 0, "equal_nan": True}  # targets of objects that are not kept
        torch.testing.assert_close(resumed.tensors[name], tensor, **same, msg=name)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_what_was_begun_on_the_processor_ends_on_a_gpu(tmp_path):
    table, settings = toy_table(4_000), dataclasses.replace(SMALL.quick(2), checkpoints=tmp_path)

    def stop(progress):
        raise _Stop

    with pytest.raises(_Stop):
        train_object(table, toy_layout(), settings, progress=stop)
    on_gpu = train_object(table, toy_layout(), dataclasses.replace(settings, device="cuda"))
    on_cpu = train_object(
        table, toy_layout(), dataclasses.replace(settings, checkpoints=tmp_path / "other")
    )
    assert all(tensor.device.type == "cpu" for tensor in on_gpu.tensors.values())
    for name in ("efficiency", "categories", "flow"):
        losses = [bundle.card.metrics[name]["best_loss"] for bundle in (on_gpu, on_cpu)]
        # same rows in the same order, other rounding, few steps
        assert losses[0] == pytest.approx(losses[1], rel=1e-2), name


def test_a_device_that_torch_does_not_know_is_refused():
    settings = dataclasses.replace(SMALL.quick(1), device="nowhere")
    with pytest.raises(RuntimeError, match="nowhere"):
        train_object(toy_table(800), toy_layout(), settings)


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    settings = dataclasses.replace(SMALL.quick(1), checkpoints=tmp_path)
    train_object(toy_table(800), toy_layout(), settings)
    with pytest.raises(TrainingError, match="another training"):
        train_object(toy_table(800, seed=4), toy_layout(), settings)


def test_fine_tuning_starts_where_the_bundle_stopped(trained):
    table = toy_table(2000, seed=11)
    tuned = train_object(table, toy_layout(), SMALL.quick(1), start_from=trained)
    cold = train_object(table, toy_layout(), SMALL.quick(1))
    assert tuned.card.metrics["flow"]["best_loss"] < cold.card.metrics["flow"]["best_loss"] - 0.3
    assert tuned.card.layout == trained.card.layout
    assert tuned.card.provenance["start_from"] == trained.digest
    assert tuned.card.ranges["pt"].high >= trained.card.ranges["pt"].high


def test_fine_tuning_needs_the_same_columns(trained):
    layout = toy_layout()
    other = dataclasses.replace(layout, targets=layout.targets[:-1])
    table = toy_table(800)
    with pytest.raises(LayoutError, match="target names"):
        train_object(
            table._replace(targets=table.targets[:, :-1]), other, SMALL.quick(1), start_from=trained
        )


def test_models_without_targets_or_categories_train_too():
    layout, table = toy_layout(), toy_table(800)
    plain = tuple(dataclasses.replace(t, spikes=()) for t in layout.targets[:2])
    only_flow = dataclasses.replace(layout, categories=(), targets=plain)
    cut = table._replace(categories=table.categories[:, :0], targets=table.targets[:, :2])
    drawn = resident(train_object(cut, only_flow, SMALL.quick(1))).simulate(
        table.conditions, toy_identity(800)
    )
    assert drawn.categories.shape[1] == 0
    assert np.isfinite(drawn.targets).all()
    only_head = dataclasses.replace(layout, targets=())
    cut = table._replace(targets=table.targets[:, :0])
    drawn = resident(train_object(cut, only_head, SMALL.quick(1))).simulate(
        table.conditions, toy_identity(800)
    )
    assert drawn.targets.shape[1] == 0
    assert set(np.unique(drawn.categories[:, 0])) <= {-1, 1}


def test_transforms_of_a_trained_model_return_its_table(trained):
    model = ObjectModel.from_bundle(trained)
    table = toy_table(2000, seed=2)
    data = prepare(table, model, seed=3)
    codes = torch.stack(
        [part.argmax(1) for part in torch.split(data.encoded, list(model.sizes), 1)], 1
    )
    conditions = torch.from_numpy(table.conditions)[data.matched]
    drawn = model.columns.to_physics(data.latent, conditions, codes)
    expected = torch.from_numpy(table.targets)
    kept = ~drawn.outside
    assert kept.float().mean() > 0.995
    assert torch.allclose(drawn.targets[kept], expected[kept], rtol=2e-3, atol=2e-5)
    names = toy_layout().target_names
    count = names.index("count")
    assert torch.equal(drawn.targets[kept, count], expected[kept, count])
    spiked = expected[:, names.index("tag")] == -1
    assert (drawn.targets[spiked & kept, names.index("tag")] == -1).all()
    values = [
        torch.tensor(c.values)[drawn.codes[:, k]] for k, c in enumerate(toy_layout().categories)
    ]
    assert torch.equal(torch.stack(values, 1), torch.from_numpy(table.categories))


def test_training_leaves_the_denormals_of_its_thread_as_they_were(trained):
    assert sys.float_info.min / 2 > 0


def test_groups_are_never_split():
    layout, table = toy_layout(), toy_table(2000)._replace(groups=np.arange(2000) // 10)
    model = ObjectModel.from_bundle(train_object(table, layout, SMALL.quick(1)))
    data = prepare(table, model, seed=1)
    (train, held), (matched_train, matched_held) = split(data, 0.2, seed=1)
    assert not set(data.groups[train].tolist()) & set(data.groups[held].tolist())
    assert 0.1 < len(held) / 2000 < 0.3
    rows = data.matched
    assert not set(rows[matched_train].tolist()) & set(held.tolist())
    assert set(rows[matched_held].tolist()) <= set(held.tolist())
    assert torch.equal(split(data, 0.2, seed=1)[0][1], held)
    assert not torch.equal(split(data, 0.2, seed=2)[0][1][:50], held[:50])


def broken(change):
    table = toy_table(100)
    fields = {n: getattr(table, n).copy() for n in ("conditions", "targets", "categories")}
    change(fields)
    return table._replace(**fields)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda f: f["conditions"].__setitem__((3, 0), np.nan), "condition.*'pt': 1"),
        (lambda f: f["targets"].__setitem__((3, 1), np.inf), "target.*'deta': 1"),
        (lambda f: f["categories"].__setitem__((3, 0), 7), "'charge' takes \\[7\\]"),
        (lambda f: f.update(targets=f["targets"][:, :2]), "targets has shape"),
        (lambda f: f.update(categories=f["categories"][1:]), "categories has shape"),
    ],
)
def test_tables_that_do_not_fit_are_refused_by_name(change, word):
    with pytest.raises(ValueError, match=word):
        check_table(broken(change), toy_layout())


def test_a_target_its_transforms_cannot_take_is_named():
    layout = toy_layout()
    targets = tuple(
        dataclasses.replace(t, transforms=(Log1p(1e3),)) if t.name == "deta" else t
        for t in layout.targets
    )
    wrong = dataclasses.replace(layout, targets=targets)
    with pytest.raises(ValueError, match=r"'deta'.*not finite"):
        train_object(toy_table(500), wrong, SMALL.quick(1))


def test_fitted_transforms_stay_as_they_are():
    first = fit_layout(toy_table(1000), toy_layout(), seed=1)
    assert fit_layout(toy_table(1000, seed=5), first, seed=1) == first


def parabola():
    module = torch.nn.Linear(1, 1)
    x = torch.linspace(-1, 1, 512)[:, None]
    y = 3 * x[:, 0] - 1

    def loss(rows):
        return (module(x[rows])[:, 0] - y[rows]).square()

    return module, loss, torch.arange(0, 512, 2), torch.arange(1, 512, 2)


def test_optimise_finds_the_minimum_and_keeps_the_best():
    module, loss, train, validation = parabola()
    recipe = Recipe(epochs=60, batch=32, lr=3e-2, weight_decay=0.0)
    history = optimise(module, loss, train, validation, recipe, stage="line", seed=1)
    assert history.best < 1e-4
    assert float(loss(validation).mean().detach()) == pytest.approx(history.best, rel=1e-3)


def test_optimise_stops_when_nothing_improves():
    module, loss, train, validation = parabola()
    recipe = Recipe(epochs=100, batch=32, lr=1e-12, average=0.0, patience=3)
    history = optimise(module, loss, train, validation, recipe, stage="line", seed=1)
    assert len(history.validation) < 30


def test_optimise_gives_up_on_a_loss_that_is_no_number():
    module, _, train, validation = parabola()

    def loss(rows):
        return module.weight.sum() * torch.full((len(rows),), torch.nan)

    with pytest.raises(TrainingError, match=r"line: \d+ of \d+ steps"):
        optimise(module, loss, train, validation, Recipe(epochs=2, batch=16), stage="line", seed=1)


def test_optimise_needs_rows():
    module, loss, train, _ = parabola()
    with pytest.raises(TrainingError, match="0 to validate"):
        optimise(module, loss, train, train[:0], Recipe(), stage="line", seed=1)
    assert History().best == float("inf")


def test_a_recipe_invalidates_the_checkpoints_of_its_network_alone(tmp_path):
    table, layout = toy_table(800), toy_layout()
    short = dataclasses.replace(SMALL.quick(1), checkpoints=tmp_path)
    train_object(table, layout, short)
    longer = dataclasses.replace(short, flow=dataclasses.replace(short.flow, epochs=2))
    with pytest.raises(TrainingError, match=r"flow\.pt belongs to another training"):
        train_object(table, layout, longer)
    (tmp_path / "flow.pt").unlink()
    again = train_object(table, layout, longer)
    assert len(again.card.metrics["flow"]["train_loss"]) == 2
    assert len(again.card.metrics["efficiency"]["train_loss"]) == 1
