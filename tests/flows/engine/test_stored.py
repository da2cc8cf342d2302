"""Plans come back from JSON and tensors as they were, or are refused."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import json

import numpy as np
import pytest
import torch
from nflows.nn.nets import ResidualNet
from nflows.transforms.coupling import PiecewiseRationalQuadraticCouplingTransform
from nflows.utils import create_alternating_binary_mask

from flows.architectures import ConditionalFlow
from flows.engine.compile_nflows import compile_transform
from flows.engine.compile_plan import compile_plan
from flows.engine.compile_zuko import compile_zuko
from flows.engine.stored import plan_from_stored, plan_to_stored
from flows.engine.testing import random_transform
from flows.engine.torch_flow import TorchFlow
from flows.engine.validate import PlanError
from flows.spec import FlowSpec


def plans():
    yield compile_plan(ConditionalFlow(FlowSpec(features=3, context=2, hidden=16)).eval())
    for kind, residual, context in (("spline", True, 2), ("affine", False, None)):
        transform = random_transform(kind, 4, context, residual=residual, batch_norm=True, hidden=9)
        yield compile_transform(transform, 4, context or 0)
    yield coupling_plan()
    yield from zuko_plans()


def coupling_plan():
    coupling = PiecewiseRationalQuadraticCouplingTransform(
        create_alternating_binary_mask(3),
        lambda i, o: ResidualNet(i, o, hidden_features=8, context_features=2, num_blocks=1),
        num_bins=4,
        tails="linear",
    )
    return compile_transform(coupling.eval(), 3, 2)


def zuko_plans():
    """Autoregressive, coupling, and one feature, if the library is there."""
    if importlib.util.find_spec("zuko") is None:
        return
    import zuko

    for features, passes in ((3, None), (3, 2), (1, None)):
        options = {"transforms": 2, "hidden_features": (8, 8), "bins": 4, "passes": passes}
        flow = zuko.flows.NSF(features, 2, **options)
        yield compile_zuko(flow.state_dict(), features=features, context=2, **options)


@pytest.fixture
def stored():
    plan = compile_transform(random_transform("spline", 3, 2, steps=1, hidden=8, blocks=1), 3, 2)
    return plan_to_stored(plan)


@pytest.mark.parametrize("plan", plans())
def test_a_plan_computes_the_same_bits_after_a_journey(plan):
    structure, tensors = plan_to_stored(plan)
    other = plan_from_stored(json.loads(json.dumps(structure, allow_nan=False)), tensors)
    z, c = torch.randn(20, plan.features), torch.randn(20, plan.context)
    flows = [TorchFlow(p, torch.float64) for p in (plan, other)]
    first, second = (f.inverse(z.double(), c.double()) for f in flows)
    assert torch.equal(first, second)
    assert plan_to_stored(other)[0] == structure


def test_float32_numbers_take_four_bytes_and_others_keep_eight(stored):
    _, tensors = stored
    assert tensors["steps.1.made.final.weight"].dtype == torch.float32
    assert tensors["steps.1.made.degrees"].dtype == torch.int64
    assert tensors["steps.0.inverse"].dtype == torch.float64


def test_infinite_limits_survive_json(stored):
    structure, tensors = stored
    assert structure["steps"][1]["limits"]["raw"] == {"number": "inf"}
    assert plan_from_stored(structure, tensors).steps[1].limits.raw == np.inf


def _changed(path, value):
    def change(structure, tensors):
        part = structure
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = value

    return change


def _tensor(name, change):
    def apply(structure, tensors):
        tensors[name] = change(tensors[name])

    return apply


def _extra(structure, tensors):
    tensors["more"] = torch.zeros(2)


def _missing(structure, tensors):
    del tensors["steps.1.made.first.bias"]


def _field(structure, tensors):
    del structure["steps"][1]["bins"]


def _unrectified(structure, tensors):
    structure["steps"][1]["made"]["blocks"][0]["rectified"] = False
    tensors["steps.1.made.blocks.0.scale"] *= 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_unrectified, "rectified expected true, or false in a block without gate, scale"),
        (_changed(["steps", 1, "made", "blocks", 0, "rectified"], 1), "rectified expected true"),
        (_changed(["class"], "Affine"), "class 'Affine'"),
        (_changed(["class"], "os.system"), "unknown class 'os.system'"),
        (_changed(["steps", 1, "bins"], 9), r"steps\.1\.made\.final expected 78"),
        (_changed(["steps", 1, "bins"], True), "whole number"),
        (_changed(["steps", 1, "bound"], "3"), "bound expected a number"),
        (_changed(["steps", 1, "made"], None), r"steps\.1\.made expected Made"),
        (_changed(["features"], 4), "base"),
        (_changed(["context"], 1), "context"),
        (_field, "bins"),
        (_extra, "more"),
        (_missing, "missing"),
        (_tensor("steps.1.made.first.bias", lambda t: t[:3]), "first"),
        (_tensor("steps.1.made.degrees", lambda t: t.flip(0)), "ascending"),
        (_tensor("steps.1.made.degrees", lambda t: t + 3), "degrees from 0 to 2"),
        (_tensor("steps.1.made.final.weight", torch.ones_like), "zero where the mask is"),
        (_tensor("steps.0.inverse", lambda t: 2 * t), "inverse of the matrix"),
        (_tensor("base.scale", torch.zeros_like), "positive"),
        (_tensor("base.loc", lambda t: t * torch.nan), r"base\.loc expected finite numbers"),
        (_tensor("steps.0.bias", lambda t: t + torch.inf), r"steps\.0\.bias expected finite"),
        (_tensor("steps.1.made.final.bias", lambda t: t * torch.nan), r"final\.bias.*69 of 69"),
        (_tensor("steps.1.made.blocks.0.context", lambda t: t * torch.nan), "context expected fin"),
        (_changed(["steps", 1, "bound"], np.inf), "bound expected a finite number"),
        (_changed(["steps", 1, "limits", "raw"], np.nan), r"limits\.raw expected a finite"),
        (_changed(["steps", 1, "limits", "slope"], np.nan), r"limits\.slope expected a finite"),
        (_changed(["steps", 0, "log_det"], np.nan), "log_det expected a finite number"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(stored, change, message):
    structure, tensors = copy.deepcopy(stored)
    change(structure, tensors)
    with pytest.raises(PlanError, match=message):
        plan_from_stored(structure, tensors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_tensor("steps.0.moved", lambda t: t + 1), "every feature kept or moved"),
        (_tensor("steps.0.net.final.bias", lambda t: t[:-1]), "net.final"),
        (_tensor("steps.0.net.blocks.0.gate.weight", lambda t: t[:, :1]), "gate"),
        (_changed(["steps", 0, "limits", "soft"], 1), "Limits"),
        (_changed(["steps", 0, "limits", "slope"], 0.0), "between 0 and 1"),
        (_changed(["steps", 0, "net"], None), "expected ResidualNet"),
    ],
)
def test_couplings_that_do_not_fit_are_refused(change, message):
    structure, tensors = plan_to_stored(coupling_plan())
    change(structure, tensors)
    with pytest.raises(PlanError, match=message):
        plan_from_stored(structure, tensors)


def test_what_is_no_plan_is_refused():
    with pytest.raises(PlanError, match="begins with class 'Plan'"):
        plan_from_stored({"class": "ScaleRule", "least": 1.0, "most": 1.0, "shift_bound": 1.0}, {})
    plan = compile_transform(random_transform("affine", 2, None, steps=1), 2, 0)
    with pytest.raises(PlanError, match="cannot be stored"):
        plan_to_stored(dataclasses.replace(plan, embedding=object()))
