"""FlashSim's checkpoints: nflows state dicts with the dictionary that rebuilds their flow.

Sources: francesco-vaselli/FlashSim, generation/mynflow.py (prototype: splines, couplings or
autoregressive); cms-flashsim/extractor, trainer/utils/modded_basic_nflow.py and cms-flashsim/nbd,
nbd/models/jets/jets_muons.py (mixtures of masked affine and masked spline steps). Both keep their
hyper-parameters in the checkpoint as ``model_hyperparams``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nflows.distributions.normal import StandardNormal
from nflows.flows.base import Flow
from nflows.nn.nets import ResidualNet
from nflows.transforms.autoregressive import (
    MaskedAffineAutoregressiveTransform,
    MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
)
from nflows.transforms.base import CompositeTransform
from nflows.transforms.coupling import PiecewiseRationalQuadraticCouplingTransform
from nflows.transforms.lu import LULinear
from nflows.transforms.permutations import RandomPermutation
from nflows.utils import create_alternating_binary_mask
from torch.nn.functional import elu, leaky_relu, relu

from flows.bundle import Bundle
from flows.engine.compile_plan import compile_plan
from flows.engine.plan import SCALE_RULES, Affine, Dense, Parametrisation, Plan, Step
from flows.engine.weights import CompileError
from flows.importers.columns import Scales, read_columns
from flows.importers.packing import pack
from flows.importers.source import ForeignModelError, read_checkpoint, read_json, state_of

__all__ = ["build_flow", "compile_flashsim", "import_nflows"]

IDENTITY = 0.5414
"""Taken off every shift of an affine step that began as the identity: softplus of it is one."""
ACTIVATIONS = {"relu": relu, "elu": elu, "leaky_relu": leaky_relu}
Settings = Mapping[str, Any]


def import_nflows(
    weights: Path,
    columns: Path,
    *,
    scale_factors: Path | None = None,
    ranges: Path | None = None,
    hyperparameters: Path | None = None,
    parametrisation: Parametrisation | None = None,
    name: str | None = None,
    era: str = "unspecified",
) -> Bundle:
    """Make a bundle of a checkpoint of FlashSim.

    Arguments:
        weights: Checkpoint with ``model_hyperparams`` and ``model_state_dict``, or a state dict.
        columns: File of columns with the operations of every target.
        scale_factors: ``scale_factors_*.json``; without it nothing was scaled.
        ranges: ``ranges_*.json``; without it nothing is clipped.
        hyperparameters: JSON of the dictionary, where the checkpoint has none.
        parametrisation: Of affine scales; default: that of the generator, ``flashsim-clamped``.
        name: Of the model; default: the file's.
        era: Campaign of the training data.
    Raises: ForeignModelError if something is missing or does not fit.
    """
    content = read_checkpoint(weights)
    state = state_of(content, weights)
    settings = content.get("model_hyperparams") if "model_state_dict" in content else None
    if hyperparameters is not None:
        settings = read_json(hyperparameters)
    if not isinstance(settings, Mapping):
        msg = (
            f"{weights}: holds no model_hyperparams; write the dictionary that built the flow "
            f"into a JSON file and give it"
        )
        raise ForeignModelError(msg)
    scales = Scales(
        *(None if path is None else read_json(path) for path in (scale_factors, ranges))
    )
    known = read_columns(columns, scales)
    rule: Parametrisation = "flashsim-clamped" if parametrisation is None else parametrisation
    try:
        plan = compile_flashsim(settings, state, rule)
    except ForeignModelError as error:
        msg = f"{weights}: {error}"
        raise ForeignModelError(msg) from error
    files = {
        key: path.name
        for key, path in (("scale_factors", scale_factors), ("ranges", ranges))
        if path is not None
    }
    return pack(
        plan,
        known,
        weights,
        library="nflows",
        name=name,
        provenance={"hyperparameters": _plain(settings), "parametrisation": rule} | files,
        era=era,
        seed_system="francesco-vaselli/FlashSim",
    )


def compile_flashsim(
    settings: Settings, state: Mapping[str, Any], parametrisation: Parametrisation
) -> Plan:
    """Write a flow of FlashSim as a plan.

    Arguments:
        settings: ``model_hyperparams``.
        state: ``model_state_dict``.
        parametrisation: Of affine scales: ``flashsim-clamped`` as generated with,
            ``nflows`` as trained with (but for its forward cut at a scale of 50).
    Raises: ForeignModelError if they do not fit each other or have no place in a plan.
    """
    if parametrisation not in SCALE_RULES:
        msg = f"parametrisation {parametrisation!r} is unknown; known are {sorted(SCALE_RULES)}"
        raise ForeignModelError(msg)
    flow, shifted = build_flow(settings)
    expected = flow.state_dict()
    missing, unknown = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
    if missing or unknown:
        msg = (
            f"the weights lack {_few(missing)} and hold unknown {_few(unknown)}: they are not "
            f"those of the hyper-parameters {_plain(settings)}"
        )
        raise ForeignModelError(msg)
    for key, tensor in expected.items():
        if tensor.shape != state[key].shape:
            msg = (
                f"tensor {key!r} has shape {tuple(state[key].shape)}, the hyper-parameters make "
                f"{tuple(tensor.shape)}; give those of this model"
            )
            raise ForeignModelError(msg)
    flow.load_state_dict(dict(state))
    try:
        plan = compile_plan(flow.eval(), parametrisation)
    except CompileError as error:
        raise ForeignModelError(str(error)) from error
    return _shifted(plan) if shifted else plan


def build_flow(settings: Settings) -> tuple[Any, bool]:
    """Build the flow of ``model_hyperparams``; also tell whether affine shifts are displaced.

    Raises: ForeignModelError for entries that are missing or that nothing here can run.
    """
    top = _Settings(settings, "model_hyperparams")
    features, context = top.count("input_dim", 1), top.count("context_dim")
    if "num_flow_steps" in settings:
        inner = _Settings(top.get("base_transform_kwargs"), "base_transform_kwargs")
        transform, shifted = (
            _prototype(features, context, top.count("num_flow_steps"), inner),
            False,
        )
    else:
        key = "base_kwargs" if "base_kwargs" in settings else "base_transform_kwargs"
        inner = _Settings(top.get(key), key)
        permute = settings.get("permute_type", inner.values.get("permute_type"))
        transform, shifted = _mixture(features, context, inner, permute)
    return Flow(transform, StandardNormal([features])), shifted


class _Settings:
    """A dictionary whose entries are asked for by name and type."""

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, Mapping):
            msg = f"{where} is a dictionary, found {values!r}"
            raise ForeignModelError(msg)
        self.values, self.where = values, where

    def get(self, key: str) -> Any:
        if key not in self.values:
            msg = f"{self.where} lacks {key!r}; it holds {sorted(map(str, self.values))}"
            raise ForeignModelError(msg)
        return self.values[key]

    def count(self, key: str, least: int = 0) -> int:
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            msg = f"{self.where}[{key!r}] is a whole number from {least} on, found {value!r}"
            raise ForeignModelError(msg)
        return value

    def number(self, key: str, default: float) -> float:
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            msg = f"{self.where}[{key!r}] is a number, found {value!r}"
            raise ForeignModelError(msg)
        return float(value)


def _prototype(features: int, context: int, steps: int, inner: _Settings) -> Any:
    """[Permutation, LU, spline] × steps, then permutation and LU."""
    layers: list[Any] = []
    for i in range(steps):
        spline = _prototype_step(i, features, context, inner)
        layers.append(CompositeTransform([_linear(features), spline]))
    return CompositeTransform([*layers, _linear(features)])


def _prototype_step(i: int, features: int, context: int, inner: _Settings) -> Any:
    kind = inner.values.get("base_transform_type", "rq-coupling")
    name = inner.values.get("activation", "relu")
    if name not in ACTIVATIONS:
        msg = f"activation {name!r} is unknown; known are {sorted(ACTIVATIONS)}"
        raise ForeignModelError(msg)
    network = {
        "hidden_features": inner.count("hidden_dim", 1),
        "context_features": context,
        "num_blocks": inner.count("num_transform_blocks"),
        "activation": ACTIVATIONS[name],
        "use_batch_norm": bool(inner.values.get("batch_norm", True)),
    }
    spline = {
        "num_bins": inner.count("num_bins", 1),
        "tails": "linear",
        "tail_bound": inner.number("tail_bound", 1.0),
    }
    if kind == "rq-autoregressive":
        return MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
            features, use_residual_blocks=True, **network, **spline
        )
    if kind != "rq-coupling" or inner.values.get("apply_unconditional_transform"):
        msg = f"a step {kind!r} that transforms what it keeps, or of another kind, cannot be run"
        raise ForeignModelError(msg)
    return PiecewiseRationalQuadraticCouplingTransform(
        create_alternating_binary_mask(features, even=i % 2 == 0),
        lambda inputs, outputs: ResidualNet(inputs, outputs, **network),
        **spline,
    )


def _mixture(features: int, context: int, inner: _Settings, permute: Any) -> tuple[Any, bool]:
    """Masked affine steps, then masked splines, each with permutation and LU behind it."""
    if inner.values.get("num_steps_caf", 0):
        msg = "affine couplings (num_steps_caf above 0) cannot be run; autoregressive steps can"
        raise ForeignModelError(msg)
    kind = inner.values.get("affine_type", "softplus")
    if kind != "softplus":
        msg = f"affine scales by {kind!r} cannot be run; softplus can"
        raise ForeignModelError(msg)
    steps: list[Any] = []
    for word in ("maf", "arqs"):
        for _ in range(inner.count(f"num_steps_{word}")):
            steps.append(_mixture_step(word, features, context, inner))
            if permute != "no-permutation":
                steps.append(_linear(features))
    return CompositeTransform(steps), bool(inner.get("init_identity"))


def _mixture_step(word: str, features: int, context: int, inner: _Settings) -> Any:
    network = {
        "hidden_features": inner.count(f"hidden_dim_{word}", 1),
        "context_features": context,
        "num_blocks": inner.count(f"num_transform_blocks_{word}"),
        "use_residual_blocks": bool(inner.get(f"use_residual_blocks_{word}")),
        "use_batch_norm": bool(inner.get(f"batch_norm_{word}")),
    }
    if word == "maf":
        return MaskedAffineAutoregressiveTransform(features, **network)
    return MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
        features,
        num_bins=inner.count("num_bins_arqs", 1),
        tails="linear",
        tail_bound=inner.number("tail_bound_arqs", 1.0),
        **network,
    )


def _linear(features: int) -> Any:
    return CompositeTransform([RandomPermutation(features), LULinear(features)])


def _shifted(plan: Plan) -> Plan:
    """Take the start of the identity off the shifts of affine steps."""
    steps: list[Step] = []
    for step in plan.steps:
        if isinstance(step, Affine):
            final = step.made.final
            bias = final.bias.copy()
            bias[1::2] -= IDENTITY
            made = dataclasses.replace(step.made, final=Dense(final.weight, bias))
            steps.append(dataclasses.replace(step, made=made))
        else:
            steps.append(step)
    return dataclasses.replace(plan, steps=tuple(steps))


def _few(names: list[str]) -> str:
    return f"{names[:3]} ({len(names)} in all)" if len(names) > 3 else str(names)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
