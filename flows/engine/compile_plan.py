"""Plans of whole flows: nflows' own and this package's."""

from __future__ import annotations

from typing import Any

import numpy as np
from nflows.distributions.normal import StandardNormal
from nflows.flows.base import Flow
from nflows.nn.nets import ResidualNet
from torch import nn

from flows.architectures import ConditionalFlow, MaskedSpline
from flows.engine.compile_nflows import (
    CompileError,
    compile_made,
    compile_steps,
    compile_transform,
    to_array,
)
from flows.engine.plan import Base, Dense, Parametrisation, Plan, Spline
from flows.spline import OWN_LIMITS

__all__ = ["compile_plan"]


def compile_plan(flow: Any, parametrisation: Parametrisation = "nflows") -> Plan:
    """Write a flow as a plan, at the weights it has now.

    Arguments:
        flow: :class:`flows.architectures.ConditionalFlow`, or ``nflows.flows.base.Flow`` with a
            standard normal base and no embedding network.
        parametrisation: How the scales of nflows' affine layers follow from their networks.
    Raises: CompileError if a part of it has no place in a plan.

    Example:
        >>> from flows.spec import FlowSpec
        >>> plan = compile_plan(ConditionalFlow(FlowSpec(features=3, context=2, hidden=16)))
        >>> plan.features, plan.context, plan.embedded, len(plan.steps)
        (3, 2, 64, 7)
    """
    if isinstance(flow, ConditionalFlow):
        return _conditional(flow)
    if isinstance(flow, Flow):
        return _nflows(flow, parametrisation)
    msg = f"{type(flow).__name__} cannot be compiled; a ConditionalFlow or nflows' Flow can"
    raise CompileError(msg)


def _conditional(flow: ConditionalFlow) -> Plan:
    spec = flow.spec

    def spline(layer: Any, features: int, _: Parametrisation) -> Spline:
        made = compile_made(layer.autoregressive_net, features)
        return Spline(made, layer.bins, layer.bound, OWN_LIMITS)

    steps = compile_steps(flow.transform, spec.features, more={MaskedSpline: spline})
    layers = [m for m in flow.embedding.modules() if isinstance(m, nn.Linear)]
    embedding = tuple(Dense(to_array(m.weight), to_array(m.bias)) for m in layers)
    return Plan(spec.features, spec.context, embedding, steps, _standard(spec.features))


def _nflows(flow: Any, parametrisation: Parametrisation) -> Plan:
    if not isinstance(flow._distribution, StandardNormal):
        msg = f"base {type(flow._distribution).__name__} cannot be compiled; StandardNormal can"
        raise CompileError(msg)
    if not isinstance(flow._embedding_net, nn.Identity):
        msg = "a flow with an embedding network cannot be compiled; embed the context before it"
        raise CompileError(msg)
    (features,) = flow._distribution._shape
    contexts = {
        module.in_features
        for name, module in flow._transform.named_modules()
        if name.endswith("context_layer")
    }
    nets = [m for m in flow._transform.modules() if isinstance(m, ResidualNet)]
    contexts |= {net.context_features for net in nets if net.context_features}
    if len(contexts) > 1:
        msg = f"layers expect contexts of different widths {sorted(contexts)}"
        raise CompileError(msg)
    context = contexts.pop() if contexts else 0
    return compile_transform(flow._transform, features, context, parametrisation)


def _standard(features: int) -> Base:
    return Base(np.zeros(features), np.ones(features))
