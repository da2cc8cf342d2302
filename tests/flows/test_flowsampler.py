"""Bundles of flows: physics units in, physics units out, the same whatever the calls."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from flows.batching import ComputePool
from flows.bundle import Bundle, BundleError
from flows.card import Range
from flows.engine.compile_nflows import compile_transform
from flows.engine.testing import random_transform
from flows.engine.torch_flow import TorchFlow
from flows.features import (
    Affine,
    Clip,
    Dequantise,
    DifferenceTo,
    Log,
    OneHot,
    Snap,
    Standardise,
)
from flows.flowmodel import FlowModel, flow_bundle
from flows.flowsampler import FlowSampler
from flows.layout import CategoryColumn, ConditionColumn, LayoutError, ObjectLayout, TargetColumn
from flows.noise import Identity, normals
from flows.reference import compare, with_reference
from flows.resident import resident
from flows.work import Work

ROWS = 300


def layout(targets: int) -> ObjectLayout:
    more = (
        TargetColumn("eta", "1", (DifferenceTo("eta"), Affine(20.0))),
        TargetColumn("hits", "1", (Dequantise(0, 9), Affine(0.2, -1.0))),
    )
    return ObjectLayout(
        object="toy",
        collection="Toy",
        source="GenToy",
        conditions=(
            ConditionColumn("pt", "GeV", (Log(), Standardise(3.0, 1.0))),
            ConditionColumn("eta", "1"),
            ConditionColumn("flavour", "1", (OneHot((0.0, 5.0)),)),
        ),
        targets=(TargetColumn("pt", "GeV", (Clip(0.0, 1e4), Log())), *more)[:targets],
    )


def bundle_of(targets: int) -> Bundle:
    transform = random_transform("spline", targets, 4, steps=2, hidden=16, blocks=1)
    model = FlowModel(layout(targets), compile_transform(transform, targets, 4), {"arm": "1 mm"})
    ranges = {"pt": Range(10, 100), "eta": Range(-2.5, 2.5)}
    return with_reference(flow_bundle(model, "toy", ranges, era="test"), conditions())


def conditions(rows: int = ROWS) -> np.ndarray:
    rng = np.random.default_rng(0)
    table = (rng.uniform(10, 100, rows), rng.uniform(-2.5, 2.5, rows), rng.choice([0.0, 5.0], rows))
    return np.stack(table, 1).astype(np.float32)


def identity(rows: int = ROWS) -> Identity:
    row, zero = np.arange(rows), np.zeros(rows, dtype=np.int64)
    return Identity(1, "toy", "Toy", zero, zero, row, zero, zero)


@pytest.fixture(scope="module", params=[1, 3])
def bundle(request):
    torch.manual_seed(0)
    return bundle_of(request.param)


@pytest.fixture(scope="module")
def single():
    torch.manual_seed(0)
    return bundle_of(1)


def test_a_saved_flow_draws_the_same_samples(bundle, tmp_path):
    first = resident(bundle).sample(conditions(), identity())
    loaded = Bundle.load(bundle.save(tmp_path / "flow.zip"))
    assert loaded.digest == bundle.digest
    model = FlowModel.from_bundle(loaded)
    assert model.definitions == {"arm": "1 mm"}
    other = resident(tmp_path / "flow.zip").sample(conditions(), identity())
    assert np.array_equal(first.targets, other.targets)
    assert np.isfinite(first.targets).all()
    assert compare(loaded) == (64, 0)


def test_changed_weights_are_found_by_the_reference(bundle):
    name = next(n for n in bundle.tensors if n.endswith("final.bias"))
    changed = dict(bundle.tensors) | {name: bundle.tensors[name] + 0.5}
    assert compare(Bundle(bundle.card, changed)).differing > 32


def test_samples_are_those_of_the_plan_at_the_rows_noise(bundle):
    model = resident(bundle)
    plan, rows = model.model.plan, torch.from_numpy(conditions()).double()
    noise = normals(identity(), "flow", plan.features)
    latent = model.engine.inverse(noise.double(), model.model.context(rows, torch.float64))
    expected = model.model.physical(latent, rows).values
    found = torch.from_numpy(model.sample(conditions(), identity()).targets).double()
    # float32 networks and samples: a few 1e-7 of the scale, through an exponential
    assert torch.isclose(found, expected, rtol=1e-4, atol=1e-4).float().mean() > 0.99


def test_any_split_gives_the_same_bits(bundle):
    model = resident(bundle)
    whole = model.sample(conditions(), identity())
    for rows in (slice(0, 1), slice(1, 130), slice(130, ROWS)):
        part = model.sample(conditions()[rows], identity().take(np.arange(ROWS)[rows]))
        assert np.array_equal(part.targets, whole.targets[rows])


def test_encode_and_decode_are_inverse(bundle):
    model = resident(bundle)
    given = conditions()
    drawn = model.sample(given, identity()).targets
    noise = model.encode(drawn, given)
    back = model.decode(noise, given).targets
    continuous = [0, 1][: drawn.shape[1]]
    # float32 both ways: the round trip loses a few 1e-6 of the scale
    assert np.allclose(back[:, continuous], drawn[:, continuous], rtol=1e-3, atol=1e-3)
    assert model.encode(drawn[:0], given[:0]).shape == noise[:0].shape
    assert model.decode(noise[:0], given[:0]).targets.shape == noise[:0].shape


def test_repeated_samples_take_one_dimension_after_the_other(single):
    model, counts = resident(single), np.arange(ROWS) % 7
    drawn = model.sample_repeated(conditions(), counts, identity())
    assert drawn.targets.shape == (counts.sum(),)
    assert drawn.counters["samples"] == counts.sum()
    first = np.cumsum(counts) - counts
    once = model.sample(conditions(), identity()).targets[:, 0]
    assert np.array_equal(drawn.targets[first[counts > 0]], once[counts > 0])
    assert model.stats()["repeated"]["rows"] >= 2 * ROWS


@pytest.mark.parametrize("counts", [[1.5, 2.0], [True, False], ["1", "2"]])
def test_counts_that_are_no_integers_are_refused(single, counts):
    with pytest.raises(ValueError, match="a number of samples is an integer"):
        resident(single).sample_repeated(conditions(2), np.array(counts), identity(2))


def test_no_contexts_give_no_samples(single):
    model, none = resident(single), np.zeros(0, dtype=np.int64)
    assert model.sample_repeated(conditions()[:0], none, identity(0)).targets.shape == (0,)
    context = model.model.context(torch.zeros(0, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="2 identities and counts up to 0 for 0 contexts"):
        model.engine.sample_repeated(context, torch.from_numpy(none), identity(2))


def test_conditions_out_of_range_are_flagged_or_clipped(single):
    model, given = resident(single), conditions()
    given[:5, 0] = 1e3
    flagged = model.sample_repeated(given, np.full(ROWS, 3), identity())
    clipped = model.sample_repeated(given, np.full(ROWS, 3), identity(), outside="clip")
    assert flagged.outside.sum() == flagged.counters["outside_training_range"] == 5
    assert np.array_equal(model.outside_training_range(given), flagged.outside)
    assert (flagged.counters["conditions_clipped"], clipped.counters["conditions_clipped"]) == (
        0,
        5,
    )
    assert np.array_equal(flagged.targets[15:], clipped.targets[15:])
    assert not np.array_equal(flagged.targets[:15], clipped.targets[:15])
    edge = given.copy()
    edge[:5, 0] = 100.0
    again = model.sample_repeated(edge, np.full(ROWS, 3), identity())
    assert np.array_equal(again.targets, clipped.targets)
    with pytest.raises(ValueError, match="flagged or clipped"):
        model.sample(given, identity(), outside="drop")


def test_rows_without_conditions_are_nan_and_counted(bundle):
    model, given = resident(bundle), conditions()
    whole = model.sample(given, identity()).targets
    given[7, 0] = np.nan
    result = model.sample(given, identity())
    assert np.isnan(result.targets[7]).all()
    assert np.array_equal(np.delete(result.targets, 7, 0), np.delete(whole, 7, 0))
    assert result.counters["nonfinite_conditions"] == 1
    assert result.counters["nonfinite"] == 0


@pytest.mark.parametrize("swallows", [OneHot((1.0, 2.0)), Clip(0.0, 1.0)], ids=["one-hot", "clip"])
@pytest.mark.parametrize("targets", [1, 2])
def test_rows_without_conditions_are_nan_whatever_transforms_make_of_them(swallows, targets):
    columns = ObjectLayout(
        object="toy",
        collection="Toy",
        source="GenToy",
        conditions=(ConditionColumn("a", "1", (swallows,)),),
        targets=tuple(TargetColumn(f"t{i}", "1", (Snap((0.0, 1e-9)),)) for i in range(targets)),
    )
    width = columns.conditions[0].chain.width
    transform = random_transform("spline", targets, width, steps=1, hidden=8, blocks=1)
    plan = compile_transform(transform, targets, width)
    model = resident(flow_bundle(FlowModel(columns, plan), "swallower"), "cpu")
    given = np.array([[1.0], [np.nan], [np.inf], [1.0]])
    noise, lost = np.full((4, targets), 1.0), [False, True, True, False]
    results = [model.sample(given, identity(4)), model.decode(noise, given)]
    if targets == 1:
        counts = np.ones(4, dtype=np.int64)
        result = model.sample_repeated(given, counts, identity(4))
        results.append(result._replace(targets=result.targets[:, None]))
    for result in results:
        assert np.isnan(result.targets).tolist() == [[row] * targets for row in lost]
        # the image is so narrow that every sample leaves it: only those of usable rows count
        assert result.counters["clipped"] == 2
        assert (result.counters["nonfinite_conditions"], result.counters["nonfinite"]) == (2, 0)
    encoded = model.encode(np.zeros((4, targets)), given)
    assert np.isnan(encoded).tolist() == [[row] * targets for row in lost]


def test_broken_samples_are_counted_once_under_their_own_name(bundle):
    """Noise that is no number leaves every image too: such rows are no clipped ones."""
    model, given = resident(bundle), conditions(5)
    noise = np.zeros((5, len(model.layout.targets)))
    noise[2, -1] = np.nan
    counters = model.decode(noise, given).counters
    assert (counters["clipped"], counters["nonfinite"]) == (0, 1)


def test_broken_draws_are_counted_once_under_their_own_name(bundle, monkeypatch):
    model = FlowSampler(bundle, None, "cpu", ComputePool(1))
    if model.model.plan.features == 1:
        flow = model.engine.repeated
        flow.sample(torch.zeros(1, 4), torch.ones(1, dtype=torch.int64), identity(1))
        monkeypatch.setattr(flow._cpu(torch.float32), "_base", np.array([np.nan, 1.0]))
    else:
        monkeypatch.setattr(model, "_base", torch.full((2, 3), torch.nan))
    counters = model.sample(conditions(5), identity(5)).counters
    assert (counters["clipped"], counters["nonfinite"], counters["samples"]) == (0, 5, 5)


@pytest.mark.parametrize("targets", [1, 2])
def test_samples_too_large_for_float32_are_broken_ones(targets):
    """Every way to draw counts what comes out, not what was computed on the way."""
    columns = dataclasses.replace(
        layout(1),
        targets=tuple(TargetColumn(f"t{i}", "1", (Affine(1e-39),)) for i in range(targets)),
    )
    transform = random_transform("spline", targets, 4, steps=1, hidden=8, blocks=1)
    model = FlowModel(columns, compile_transform(transform, targets, 4))
    found = resident(flow_bundle(model, "large"), "cpu").sample(conditions(50), identity(50))
    lost = int((~np.isfinite(found.targets)).any(1).sum())
    assert lost > 0
    assert (found.counters["clipped"], found.counters["nonfinite"]) == (0, lost)


def test_the_work_of_calls_adds_up_to_that_of_the_model(bundle):
    with ComputePool(2) as pool:
        model = FlowSampler(bundle, None, "cpu", pool)
        parts = [np.arange(0, 100), np.arange(100, ROWS), np.arange(0)]
        results = [model.sample(conditions()[p], identity().take(p)) for p in parts]
        stats = model.stats()
    stage = "repeated" if model.model.plan.features == 1 else "draw"
    assert {*results[0].work} == {*results[2].work} == {stage}
    total = sum((result.work[stage] for result in results), Work())
    told = stats["repeated"] if stage == "repeated" else stats["stages"]["draw"]
    assert dataclasses.asdict(total).items() <= told.items()
    assert (total.rows, total.samples) == (ROWS, ROWS)
    assert total.seconds > 0
    assert 2 <= total.calls <= 3
    assert total.batches >= 2
    assert all(result.work[stage].padded > 0 for result in results[:2])


def test_what_computes_is_told(bundle):
    assert resident(bundle, "cpu").stats()["way"] == "compiled"


def test_compiled_ways_are_those_of_plain_torch(bundle):
    """Both ways of a resident flow beside its model in plain torch, float32 both."""
    model = resident(bundle, "cpu")
    given = torch.from_numpy(conditions()).double()
    plain, context = TorchFlow(model.model.plan), model.model.context(given)
    noise = torch.randn(ROWS, len(model.layout.targets))
    values, _ = model.model.physical(plain.inverse(noise, context), given)
    found = model.decode(noise.numpy(), given.numpy()).targets
    # 1e-6 of rounding through slopes of some hundred; a snapped value may fall to a neighbour
    assert np.isclose(found, values.numpy(), rtol=1e-3, atol=1e-3).mean() > 0.99
    latent = model.model.latent(values, given, torch.full(noise.shape, 0.5))
    encoded = model.encode(values.numpy(), given.numpy())
    assert np.allclose(encoded, plain.forward(latent, context)[0], rtol=1e-3, atol=1e-3)


def test_no_rows_and_wrong_shapes(bundle):
    model = resident(bundle)
    assert model.sample(conditions()[:0], identity(0)).targets.shape == (
        0,
        len(model.layout.targets),
    )
    with pytest.raises(ValueError, match=r"pt.*eta.*flavour"):
        model.sample(conditions()[:, :2], identity())


def test_tables_of_another_width_or_length_are_refused(bundle):
    model, given = resident(bundle), conditions(5)
    width = len(model.layout.targets)
    for rows, columns in ((5, width + 1), (5, width - 1), (4, width), (5, 2000)):
        table = np.zeros((rows, columns))
        message = rf"\({rows}, {columns}\).*\(5, {width}\)"
        with pytest.raises(ValueError, match=f"noise have shape {message}"):
            model.decode(table, given)
        with pytest.raises(ValueError, match=f"targets have shape {message}"):
            model.encode(table, given)
        with pytest.raises(ValueError, match=f"noise have shape {message}"):
            model.encode(np.zeros((5, width)), given, table)
    with pytest.raises(ValueError, match=rf"\(5,\).*\(5, {width}\)"):
        model.decode(np.zeros(5), given)
    with pytest.raises(ValueError, match="conditions have shape"):
        model.decode(np.zeros((5, width)), given[:, 0])


def test_a_stored_flow_needs_no_library_that_trains(single, tmp_path):
    path = single.save(tmp_path / "flow")
    code = f"""
import sys
sys.modules |= dict.fromkeys(("nflows", "normflows", "zuko"))
from flows.batching import ComputePool
from flows.bundle import Bundle
from flows.reference import compare
print(compare(Bundle.load({str(path)!r})))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "Comparison(rows=64, differing=0)", done.stderr


def test_a_flow_travels_as_its_path(bundle, tmp_path):
    model = resident(bundle.save(tmp_path / "flow"))
    assert pickle.loads(pickle.dumps(model)) is model


def test_bundles_that_are_no_flow_are_refused(bundle):
    card = bundle.card
    cases = {
        "holds no plan": dataclasses.replace(card, spec={}),
        "expected a model of kind 'flow'": dataclasses.replace(card, kind="object"),
        "unknown class": dataclasses.replace(card, spec={"plan": {"class": "Nothing"}}),
        "the flow makes": dataclasses.replace(card, layout=layout(2)),
    }
    for message, other in cases.items():
        with pytest.raises(BundleError, match=message):
            FlowModel.from_bundle(Bundle(other, bundle.tensors))


def test_discrete_columns_do_not_belong_to_a_flow(bundle):
    plan = FlowModel.from_bundle(bundle).plan
    more = dataclasses.replace(layout(1), categories=(CategoryColumn("charge", (-1, 1)),))
    with pytest.raises(LayoutError, match="charge"):
        FlowModel(more, plan)
