"""Samples that share their context's parameters are those of the flow, the noise the frozen one."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from flows.architectures import ConditionalFlow
from flows.engine import Engine
from flows.engine.compile_nflows import compile_transform
from flows.engine.compile_plan import compile_plan
from flows.engine.context_only import (
    MOST_SAMPLES,
    ContextFlow,
    invert_on_device,
    repeated_normals,
)
from flows.engine.plan import Base, Plan, Spline
from flows.engine.repeated_flow import pieces
from flows.engine.testing import random_transform
from flows.engine.torch_flow import TorchFlow
from flows.noise import Identity, normals_from_words, words
from flows.spec import FlowSpec
from flows.spline import Limits

CONTEXTS = 130


def plans() -> dict[str, Plan]:
    spline = compile_transform(random_transform("spline", 1, 3, steps=3, bound=2.0), 1, 3)
    affine = compile_transform(random_transform("affine", 1, 3, steps=1, share=0.3), 1, 3)
    mixed = spline.steps + affine.steps
    soft = tuple(
        dataclasses.replace(step, limits=Limits(0.0, 0.0, 1e-3, np.inf, soft=True))
        if isinstance(step, Spline)
        else step
        for step in spline.steps
    )
    base = Base(np.array([1.5]), np.array([0.7]))
    spec = FlowSpec(features=1, context=3, hidden=16, embedding=(8,))
    return {
        "spline, LU": spline,
        "affine, LU": affine,
        "both, shifted base": Plan(1, 3, (), mixed, base),
        "embedding": compile_plan(ConditionalFlow(spec).eval()),
        "soft limits": Plan(1, 3, (), soft, base),
        "no step": Plan(1, 3, (), (), base),
    }


@pytest.fixture(
    scope="module",
    params=[
        "spline, LU",
        "affine, LU",
        "both, shifted base",
        "embedding",
        "soft limits",
        "no step",
    ],
)
def plan(request):
    torch.manual_seed(0)
    return plans()[request.param]


@pytest.fixture
def counts():
    numbers = torch.arange(CONTEXTS) % 9
    numbers[5], numbers[6] = 1000, 257
    return numbers


@pytest.fixture
def context():
    return torch.randn(CONTEXTS, 3, dtype=torch.float64)


def identity(rows: int = CONTEXTS) -> Identity:
    rng = np.random.default_rng(1)
    zero = np.zeros(rows, dtype=np.int64)
    run = rng.integers(0, 3, rows)
    event = rng.integers(0, 2**63, rows)
    return Identity(7, "toy", "Photon", run, zero, event, np.arange(rows), zero + 3)


def words_of(identity: Identity, counts: torch.Tensor) -> np.ndarray:
    """Normals of every row, the library's own way."""
    keys, counters = identity.keys("flow"), identity.counters()
    wide = int(counts.max()) + int(counts.max()) % 2
    normal = normals_from_words(words(keys, counters, wide, np.zeros(len(keys), np.int64)))
    return normal[np.arange(wide) < counts.numpy()[:, None]]


def test_the_noise_is_the_frozen_one_to_the_bit(counts):
    none = Plan(1, 3, (), (), Base(np.zeros(1), np.ones(1)))
    flow = ContextFlow(none, np.float32)
    offsets = np.concatenate([[0], np.cumsum(counts.numpy())])
    who = identity()
    found = flow.draw(np.zeros((CONTEXTS, 3)), offsets, who.keys("flow"), who.counters(), attempt=0)
    expected = words_of(who, counts)
    # the frozen layout asks for 1e-6; words are equal, so all that may differ is a tie in rounding
    assert np.abs(found - expected).max() <= 1e-6
    assert (found.astype(np.float32) == expected).mean() > 0.999
    keys, counters = (torch.from_numpy(a) for a in (who.keys("flow"), who.counters()))
    plain = repeated_normals(keys, counters, counts).numpy()
    assert np.abs(plain - expected).max() <= 1e-6


def test_given_noise_gives_what_the_flow_gives(plan, counts, context):
    z = torch.randn(int(counts.sum()), dtype=torch.float64) * 2
    z[::7] *= 5
    engine = Engine(plan, 2)
    rows = torch.repeat_interleave(context, counts, dim=0)
    expected = TorchFlow(plan, torch.float64).inverse(z[:, None], rows)[:, 0]
    found = engine.repeated.inverse(z, context, counts)
    assert ((found - expected).abs() <= 1e-12 * (1 + expected.abs())).all()
    plain = invert_on_device(TorchFlow(plan, torch.float64), z, context, counts)
    assert ((plain - expected).abs() <= 1e-12 * (1 + expected.abs())).all()
    single = engine.repeated.inverse(z.float(), context.float(), counts)
    assert single.dtype == torch.float32
    # float32 networks: 1e-7 of parameters of size one, through slopes of a few
    assert torch.isclose(single.double(), expected, rtol=1e-4, atol=1e-4).all()


def test_samples_are_the_flow_at_their_noise(plan, counts, context):
    engine, who = Engine(plan, 2), identity()
    found = engine.sample_repeated(context, counts, who)
    noise = torch.from_numpy(words_of(who, counts)).double()
    noise = noise * float(plan.base.scale[0]) + float(plan.base.loc[0])
    expected = engine.repeated.inverse(noise, context, counts)
    # normals agree to 1e-6 at least; slopes of a few
    assert torch.allclose(found, expected, atol=1e-5)
    assert engine.repeated.stats.work.samples == 2 * len(found)


def test_threads_splits_and_neighbours_change_no_bit(plan, counts, context):
    who, first = identity(), np.concatenate([[0], np.cumsum(counts.numpy())])
    whole = Engine(plan, 1).sample_repeated(context.float(), counts, who)
    engine = Engine(plan, 3)
    assert torch.equal(engine.sample_repeated(context.float(), counts, who), whole)
    for start, stop in ((0, 1), (1, 6), (6, 70), (70, CONTEXTS)):
        rows = slice(start, stop)
        part = engine.sample_repeated(
            context[rows].float(), counts[rows], who.take(np.arange(start, stop))
        )
        assert torch.equal(part, whole[first[start] : first[stop]])


def test_calls_from_many_threads_agree(counts, context):
    engine, who = Engine(plans()["spline, LU"], 2), identity()
    whole = engine.sample_repeated(context, counts, who)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(engine.sample_repeated, context, counts, who) for _ in range(8)]
    assert all(torch.equal(call.result(), whole) for call in calls)


def test_a_context_that_is_not_finite_spoils_its_own_samples_alone(counts, context):
    engine, who = Engine(plans()["spline, LU"], 1), identity()
    whole = engine.sample_repeated(context, counts, who)
    broken = context.clone()
    broken[5, 1], broken[7, 0] = torch.nan, -torch.inf
    found = engine.sample_repeated(broken, counts, who)
    bad = torch.repeat_interleave(~torch.isfinite(broken).all(1), counts)
    assert torch.isnan(found[bad]).all()
    assert torch.equal(found[~bad], whole[~bad])
    assert engine.repeated.stats.nonfinite_context == 2


def test_no_contexts_and_no_samples():
    engine = Engine(plans()["spline, LU"], 1)
    none = torch.zeros(0, dtype=torch.int64)
    assert engine.sample_repeated(torch.zeros(0, 3), none, identity(0)).shape == (0,)
    zero = torch.zeros(4, dtype=torch.int64)
    assert engine.sample_repeated(torch.zeros(4, 3), zero, identity(4)).shape == (0,)


def test_flows_of_more_features_are_refused():
    plan = compile_transform(random_transform("spline", 2, 3, steps=1), 2, 3)
    with pytest.raises(ValueError, match=r"2 features.*cannot share"):
        Engine(plan, 1).sample_repeated(torch.zeros(1, 3), torch.ones(1).long(), identity(1))


@pytest.mark.parametrize(
    ("context", "counts", "rows", "message"),
    [
        (torch.zeros(2, 2), torch.ones(2).long(), 2, r"context of shape \(2, 2\)"),
        (torch.zeros(2, 3).long(), torch.ones(2).long(), 2, "float32 or float64"),
        (torch.zeros(2, 3), torch.ones(3).long(), 2, "one per context"),
        (torch.zeros(2, 3), torch.ones(2), 2, "int64"),
        (torch.zeros(2, 3), -torch.ones(2).long(), 2, "count -1"),
        (torch.zeros(2, 3), torch.ones(2).long(), 3, "one identity each"),
        (torch.zeros(2, 3), torch.tensor([1, MOST_SAMPLES + 1]), 2, "at most"),
    ],
)
def test_wrong_shapes_say_what_is_expected(context, counts, rows, message):
    engine = Engine(plans()["spline, LU"], 1)
    with pytest.raises(ValueError, match=message):
        engine.sample_repeated(context, counts, identity(rows))


def test_noise_must_fit_the_counts(context, counts):
    engine = Engine(plans()["spline, LU"], 1)
    with pytest.raises(ValueError, match="sum of the counts"):
        engine.repeated.inverse(torch.zeros(3, dtype=torch.float64), context, counts)


@pytest.mark.parametrize("each", [0, 1, 10, 100, 300, 2000])
def test_pieces_of_a_large_call_compute_whole_tiles(each):
    """A piece of 133 contexts in tiles of 64 wastes a third of the networks."""
    cuts = pieces(np.arange(20_001) * each, 64)
    assert cuts[0] == 0
    assert cuts[-1] == 20_000
    assert np.all(cuts[1:-1] % 64 == 0)
    assert len(cuts) > 40


@pytest.mark.parametrize(("contexts", "each"), [(1, 5), (63, 1), (100, 0), (130, 3000), (8, 10**5)])
def test_pieces_of_a_small_call_cover_it_once(contexts, each):
    cuts = pieces(np.arange(contexts + 1) * each, 64)
    assert cuts[0] == 0
    assert cuts[-1] == contexts
    assert np.all(np.diff(cuts) > 0)
    # few contexts with many samples keep more than one thread busy
    assert len(cuts) - 1 >= min(contexts, contexts * each // 100_000)


def test_no_contexts_are_no_pieces():
    assert pieces(np.zeros(1, dtype=np.int64), 64).tolist() == [0]
