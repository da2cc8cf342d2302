"""State dicts of zuko become plans; those of something else are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import zuko

from flows.engine.compile_zuko import compile_zuko
from flows.engine.plan import Linear, Spline
from flows.engine.torch_flow import TorchFlow
from flows.engine.weights import CompileError

SHAPE = {"features": 4, "context": 2, "transforms": 2, "hidden_features": [9, 7], "bins": 5}


def state(**changes):
    return zuko.flows.NSF(**(SHAPE | changes)).state_dict()


def test_features_of_equal_order_share_their_degree():
    plan = compile_zuko(state(passes=2), passes=2, **SHAPE)
    for step in plan.steps:
        if isinstance(step, Spline):
            assert set(step.made.degrees) == {0, 2}
            assert set(step.made.last_degrees) == {0, 2}


def test_only_descending_orders_cost_a_permutation():
    plan = compile_zuko(state(transforms=3), **(SHAPE | {"transforms": 3}))
    assert [type(step) for step in plan.steps] == [Spline, Linear, Spline, Linear, Spline]
    for step in plan.steps:
        if isinstance(step, Linear):
            assert np.array_equal(step.matrix @ step.inverse, np.eye(4))


def test_random_orders_are_followed():
    torch.manual_seed(3)
    flow = zuko.flows.NSF(randperm=True, **SHAPE).double()
    plan = compile_zuko(flow.state_dict(), **SHAPE)
    x, c = torch.randn(50, 4).double(), torch.randn(50, 2).double()
    with torch.no_grad():
        expected = flow(c).log_prob(x)
    assert torch.allclose(TorchFlow(plan, torch.float64).log_prob(x, c), expected, atol=1e-11)


def test_a_shifted_base_is_kept_under_either_name():
    weights = state()
    weights["base.loc"] = torch.arange(4.0)
    old = {"base.loc": "base._0", "base.scale": "base._1"}
    plan = compile_zuko({old.get(k, k): v for k, v in weights.items()}, **SHAPE)
    assert np.array_equal(plan.base.loc, np.arange(4.0))
    assert np.array_equal(plan.base.scale, np.ones(4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": 5}, "of shape"),
        ({"context": 3}, "of shape"),
        ({"hidden_features": [9, 8]}, "of shape"),
        ({"bins": 6}, "of shape"),
        ({"transforms": 3}, "hold no transform.transforms.2.order"),
        ({"transforms": 1}, "leave no place"),
        ({"hidden_features": []}, "without hidden layers"),
        ({"passes": 2}, "not that of 2 passes"),
    ],
)
def test_arguments_of_another_flow_are_refused(changes, message):
    with pytest.raises(CompileError, match=message):
        compile_zuko(state(), **(SHAPE | changes))


def test_residual_layers_of_changing_width_are_refused_with_their_reason():
    flow = zuko.flows.NSF(**SHAPE, residual=True)
    with pytest.raises(CompileError, match=r"residual=True and hidden layers of widths \(9, 7\)"):
        compile_zuko(flow.state_dict(), **SHAPE)


def test_a_sum_that_sees_more_than_its_stream_is_refused():
    shape = SHAPE | {"hidden_features": [9, 9]}
    weights = zuko.flows.NSF(**shape, residual=True).state_dict()
    weights["transform.transforms.0.hyper.1.2.mask"][:] = True
    with pytest.raises(CompileError, match="see more than what it is added to"):
        compile_zuko(weights, **shape)


def test_masks_that_do_not_follow_the_order_are_refused():
    weights = state()
    weights["transform.transforms.0.hyper.4.mask"][:] = True
    with pytest.raises(CompileError, match="see itself"):
        compile_zuko(weights, **SHAPE)
    weights = state()
    mask = weights["transform.transforms.0.hyper.0.mask"]
    mask[:, 0], mask[:, 1] = False, True
    with pytest.raises(CompileError, match="skips a feature"):
        compile_zuko(weights, **SHAPE)
