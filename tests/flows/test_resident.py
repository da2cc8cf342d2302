"""Resident models: one per process and digest; results that know only the object."""

from __future__ import annotations

import dataclasses
import multiprocessing
import pickle
import threading

import numpy as np
import pytest
import torch

from flows.batching import ComputePool
from flows.bundle import Bundle, BundleError
from flows.resident import ResidentModel, forget, resident
from flows.simulator import ATTEMPTS, MISSING_CATEGORY, ObjectSimulator, Simulated
from flows.testing import toy_identity, toy_layout, toy_table
from flows.training import TrainingSettings, train_object

OBJECTS = 3000


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return train_object(toy_table(3000), toy_layout(), TrainingSettings(hidden=32, bins=6).quick(2))


@pytest.fixture(scope="module")
def saved(bundle, tmp_path_factory):
    return bundle.save(tmp_path_factory.mktemp("resident") / "toy.zip")


@pytest.fixture(scope="module")
def conditions() -> np.ndarray:
    return toy_table(OBJECTS, seed=3).conditions


@pytest.fixture(scope="module")
def reference(bundle, conditions) -> Simulated:
    with ComputePool(1) as pool:
        return ObjectSimulator(bundle, None, "cpu", pool).simulate(
            conditions, toy_identity(OBJECTS)
        )


def assert_same(rows: np.ndarray, part: Simulated, whole: Simulated) -> None:
    place = np.cumsum(whole.kept) - 1
    assert np.array_equal(part.kept, whole.kept[rows])
    chosen = place[rows[part.kept]]
    assert np.array_equal(part.targets, whole.targets[chosen], equal_nan=True)
    assert np.array_equal(part.categories, whole.categories[chosen])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_split_into_concurrent_calls_gives_the_same_bits(
    bundle, conditions, reference, threads
):
    rng = np.random.default_rng(threads)
    identity = toy_identity(OBJECTS)
    with ComputePool(threads) as pool:
        model = ObjectSimulator(bundle, None, "cpu", pool)
        assert_same(np.arange(OBJECTS), model.simulate(conditions, identity), reference)
        for cuts in (2, 25):
            edges = np.sort(rng.choice(OBJECTS, cuts, replace=False))
            parts = np.split(rng.permutation(OBJECTS), edges)
            results: list[Simulated | None] = [None] * len(parts)

            def call(number, parts=parts, results=results):
                rows = parts[number]
                results[number] = model.simulate(conditions[rows], identity.take(rows))

            workers = [threading.Thread(target=call, args=(i,)) for i in range(len(parts))]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            for rows, result in zip(parts, results):
                assert_same(rows, result, reference)


def test_a_single_row_gives_the_same_bits(bundle, conditions, reference):
    model, identity = resident(bundle), toy_identity(OBJECTS)
    for row in (0, 1, 777, OBJECTS - 1):
        one = np.array([row])
        assert_same(one, model.simulate(conditions[one], identity.take(one)), reference)


def test_the_same_object_gives_the_same_bits_at_every_place_of_a_micro_batch(bundle, conditions):
    model = resident(bundle)
    rows = np.zeros(model.micro_batch, dtype=int)
    result = model.simulate(conditions[rows], toy_identity(OBJECTS).take(rows))
    assert result.kept.all() or not result.kept.any()
    assert len(np.unique(result.targets, axis=0)) <= 1


def test_a_smaller_micro_batch_agrees_to_single_precision(bundle, conditions, reference):
    with ComputePool(1) as pool:
        model = ObjectSimulator(bundle, None, "cpu", pool)
        for stage in model._stages.values():
            stage.rows = 64
        result = model.simulate(conditions, toy_identity(OBJECTS))
    assert (result.kept == reference.kept).mean() > 0.999
    assert np.array_equal(result.kept, reference.kept)
    close = np.isclose(result.targets, reference.targets, rtol=1e-3, atol=1e-3).all(1)
    assert close.mean() > 0.999


def test_seed_fold_and_dataset_change_the_result(bundle, conditions, reference):
    model = resident(bundle)
    same = toy_identity(OBJECTS)
    changes = [{"seed": 2}, {"dataset": "other"}, {"collection": "Other"}, {"fold": same.fold + 1}]
    for change in changes:
        result = model.simulate(conditions, dataclasses.replace(same, **change))
        assert not np.array_equal(result.kept, reference.kept)


def test_outputs_are_possible_values(reference, conditions):
    layout = toy_layout()
    names = layout.target_names
    pt, count, tag = (reference.targets[:, names.index(n)] for n in ("pt", "count", "tag"))
    assert (pt > 15).all()
    assert np.array_equal(count, np.round(count))
    assert ((tag == -1) | ((tag > -0.5) & (tag < 1.5))).all()
    for column, values in zip(layout.categories, reference.categories.T):
        assert set(np.unique(values)) <= set(column.values)
    assert reference.counters["rows"] == OBJECTS
    assert reference.counters["kept"] == reference.kept.sum() == len(reference.targets)


def test_rows_without_conditions_come_out_missing_and_counted(bundle, conditions, reference):
    broken = conditions.copy()
    broken[10, 2], broken[500, 0] = np.nan, np.inf
    result = resident(bundle).simulate(broken, toy_identity(OBJECTS))
    assert result.counters["nonfinite_conditions"] == 2
    missing = np.isnan(result.targets).all(1)
    assert missing.sum() == 2
    assert (result.categories[missing] == MISSING_CATEGORY).all()
    assert result.kept[[10, 500]].all()
    rest = np.delete(np.arange(OBJECTS), [10, 500])
    assert np.array_equal(result.kept[rest], reference.kept[rest])
    sound = reference.targets[~np.isin(np.flatnonzero(reference.kept), [10, 500])]
    assert np.array_equal(result.targets[~missing], sound)


def test_conditions_outside_the_training_range_are_counted(bundle, conditions):
    far = np.repeat(np.median(conditions, axis=0)[None], 100, axis=0)
    far[:7, 0] = 1e5
    assert resident(bundle).simulate(far, toy_identity(100)).counters["outside_training_range"] == 7


def test_no_rows_are_no_problem(bundle):
    result = resident(bundle).simulate(np.zeros((0, 5), np.float32), toy_identity(0))
    assert result.targets.shape == (0, 6)
    assert result.categories.shape == (0, 2)
    assert result.counters["rows"] == 0


def test_wrong_shapes_name_the_columns(bundle, conditions):
    with pytest.raises(ValueError, match=r"\(10, 4\).*expects \(10, 5\).*flavour"):
        resident(bundle).simulate(conditions[:10, :4], toy_identity(10))
    with pytest.raises(ValueError, match="one row per identity"):
        resident(bundle).simulate(conditions[:10], toy_identity(9))


def test_rows_that_leave_an_image_are_drawn_again_then_clipped(bundle, conditions):
    with ComputePool(1) as pool:
        model = ObjectSimulator(bundle, None, "cpu", pool)
        attempts = []
        sampler = model._sampler

        def wild(features, conditions, uniform, normal):
            attempts.append(normal)
            return sampler.draw(features, conditions, uniform, torch.full_like(normal, 1e6))

        model._sampler = _Replaced(sampler, wild)
        result = model.simulate(conditions[:50], toy_identity(50))
    kept = result.counters["kept"]
    assert len(attempts) == 1 + ATTEMPTS
    assert not torch.equal(attempts[0], attempts[1])
    assert result.counters["resampled"] == ATTEMPTS * kept
    assert result.counters["clipped"] == kept
    assert np.isfinite(result.targets).all()


def test_rows_that_stay_broken_are_missing_and_counted(bundle, conditions):
    with ComputePool(1) as pool:
        model = ObjectSimulator(bundle, None, "cpu", pool)
        sampler = model._sampler

        def broken(*inputs):
            drawn = sampler.draw(*inputs)
            nowhere = torch.full_like(drawn.targets, torch.nan)
            return drawn._replace(targets=nowhere, broken=torch.ones_like(drawn.broken))

        model._sampler = _Replaced(sampler, broken)
        result = model.simulate(conditions[:20], toy_identity(20))
    assert result.counters["nonfinite"] == result.counters["kept"] > 0
    assert np.isnan(result.targets).all()


class _Replaced:
    def __init__(self, sampler, draw) -> None:
        self._sampler, self.draw = sampler, draw

    def __getattr__(self, name):
        return getattr(self._sampler, name)


def test_one_model_per_digest(bundle, saved, tmp_path):
    first = resident(saved)
    assert resident(str(saved)) is first
    assert resident(bundle) is first
    assert resident(bundle.save(tmp_path / "copy")) is first
    assert first.digest == bundle.digest
    assert first.card.layout == bundle.card.layout
    forget()
    assert resident(saved) is not first


def test_a_changed_file_is_another_model(bundle, saved, tmp_path):
    path = bundle.save(tmp_path / "m.zip")
    first = resident(path)
    changed = {n: t.clone() for n, t in bundle.tensors.items()}
    changed["efficiency.net.0.bias"] += 1.0
    Bundle(bundle.card, changed).save(path)
    assert resident(path).digest != first.digest


def test_many_threads_load_one_model(saved):
    forget()
    found = []
    threads = [threading.Thread(target=lambda: found.append(resident(saved))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1


def test_a_model_travels_as_its_path(saved, bundle):
    model = resident(saved)
    text = pickle.dumps(model)
    assert len(text) < 1000
    assert pickle.loads(text) is model
    forget()
    with pytest.raises(BundleError, match="save"):
        pickle.dumps(resident(bundle))


def test_a_model_in_memory_travels_once_it_is_found_on_disk(saved, bundle):
    forget()
    assert resident(bundle) is resident(saved)
    assert len(pickle.dumps(resident(bundle))) < 1000
    forget()


def test_a_model_travels_as_the_path_where_it_was_seen_last(saved, bundle, tmp_path):
    elsewhere = bundle.save(tmp_path / "copy.zip")
    model = resident(elsewhere)
    assert resident(saved) is model
    elsewhere.unlink()
    assert pickle.loads(pickle.dumps(model)) is model


def _in_child(path, conditions, queue) -> None:
    result = resident(path).simulate(conditions, toy_identity(len(conditions)))
    queue.put((result.kept, result.targets))


def test_a_forked_child_computes_the_same(saved, conditions, reference):
    resident(saved).simulate(conditions[:10], toy_identity(10))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(saved, conditions[:300], queue))
    child.start()
    kept, targets = queue.get(timeout=60)
    child.join(timeout=60)
    assert child.exitcode == 0
    assert np.array_equal(kept, reference.kept[:300])
    assert np.array_equal(targets, reference.targets[: kept.sum()])


def test_pins_devices_and_kinds_are_checked(saved, bundle):
    with pytest.raises(BundleError, match="expected digest"):
        resident(saved, digest="0" * 64)
    with pytest.raises(ValueError, match="tpu9"):
        resident(saved, device="tpu9")
    with pytest.raises(BundleError, match="No such file"):
        resident(saved.parent / "nothing")


def test_other_kinds_and_weights_are_refused_by_name(bundle):
    card = dataclasses.replace(bundle.card, kind="graph")
    with pytest.raises(BundleError, match="graph"):
        resident(Bundle(card, bundle.tensors))
    name = "flow.embedding.0.0.weight"
    wrong = dict(bundle.tensors) | {name: torch.zeros(3, 3)}
    with pytest.raises(BundleError, match=rf"{name}.*expected .*found \(3, 3\)"):
        resident(Bundle(bundle.card, wrong))
    less = {n: t for n, t in bundle.tensors.items() if n != name}
    with pytest.raises(BundleError, match=f"lack \\['{name}'\\]"):
        resident(Bundle(bundle.card, less))
    spec = dict(bundle.card.spec) | {"flow": None}
    with pytest.raises(BundleError, match="flow features"):
        resident(Bundle(dataclasses.replace(bundle.card, spec=spec), bundle.tensors))


def test_pileup_rows_are_drawn_whole_and_by_event(bundle):
    model, identity = resident(bundle), toy_identity(5000, objects_per_event=1)
    drawn = model.draw_pileup(identity)
    table = toy_table(3000).pileup
    assert drawn.shape == (5000, 2)
    known = {tuple(r) for r in table.tolist()}
    assert all(tuple(r) in known for r in drawn.tolist())
    assert np.array_equal(drawn[77:78], model.draw_pileup(identity.take(np.array([77]))))
    assert abs(drawn[:, 0].mean() - table[:, 0].mean()) < 0.6


def test_stats_count_the_work(bundle):
    with ComputePool(2) as pool:
        model = ObjectSimulator(bundle, None, "cpu", pool)
        model.simulate(toy_table(1500).conditions, toy_identity(1500))
        stats = model.stats()
    assert isinstance(model, ResidentModel)
    assert stats["threads"] == 2
    assert stats["micro_batch"] == model.micro_batch == 1024
    assert stats["stages"]["efficiency"]["rows"] == 1500
    assert stats["stages"]["efficiency"]["padded"] == 548


def test_a_load_is_counted_once_per_process(saved):
    forget()
    assert [_claimed(saved), _claimed(saved)] == [1, 0]
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.map(_claimed, [saved] * 2, chunksize=1) == [1, 0]


def _claimed(path):
    return resident(path).claim_load()


def test_probability_is_that_of_the_draw(bundle, conditions, reference):
    probability = resident(bundle).probability(conditions)
    assert abs(probability.mean() - reference.kept.mean()) < 0.03
