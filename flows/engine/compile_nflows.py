"""Plans from nflows' transforms, at the weights they have now.

Conventions of nflows 0.14 (bayesiains/nflows, transforms/): affine scales are softplus + 1e-3;
splines divide raw widths and heights by √hidden only if the network says how wide it is, which its
own MADE does not; slopes at the ends of linear tails are one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from nflows.transforms.autoregressive import (
    MaskedAffineAutoregressiveTransform,
    MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
)
from nflows.transforms.base import CompositeTransform
from nflows.transforms.coupling import PiecewiseRationalQuadraticCouplingTransform
from nflows.transforms.lu import LULinear
from nflows.transforms.made import MADE, MaskedFeedforwardBlock
from nflows.transforms.permutations import Permutation
from numpy.typing import NDArray
from torch.nn.functional import relu

from flows.engine.compile_coupling import compile_coupling
from flows.engine.plan import (
    Affine,
    Base,
    Dense,
    Feedforward,
    Linear,
    Made,
    Parametrisation,
    Plan,
    Residual,
    Spline,
    Step,
)
from flows.engine.weights import CompileError, folded_norm, shrunk, to_array
from flows.spline import Limits

__all__ = [
    "Builders",
    "CompileError",
    "compile_made",
    "compile_steps",
    "compile_transform",
    "to_array",
]

Array = NDArray[np.float64]
Order = NDArray[np.int64]
Builders = Mapping[type, Callable[[Any, int, Parametrisation], Step]]
"""How a kind of layer becomes a step: (layer, D, parametrisation)."""


def compile_transform(
    transform: Any, features: int, context: int, parametrisation: Parametrisation = "nflows"
) -> Plan:
    """Write a tree of nflows transforms as a plan with a standard normal base.

    Arguments:
        transform: From data to noise: composites of permutations, LULinear, masked affine and
            masked rational-quadratic autoregressive transforms, rational-quadratic couplings, in
            evaluation mode.
        features: D.
        context: Columns of the context; 0 for none.
        parametrisation: How affine scales follow from the network.
    Raises: CompileError for any other transform, activation or mode.
    """
    steps = compile_steps(transform, features, parametrisation)
    return Plan(features, context, (), steps, Base(np.zeros(features), np.ones(features)))


def compile_steps(
    transform: Any,
    features: int,
    parametrisation: Parametrisation = "nflows",
    more: Builders = MappingProxyType({}),
) -> tuple[Step, ...]:
    """Write the steps alone; neighbouring linear transforms become one.

    Arguments:
        more: How to write further kinds of layers.
    """
    if transform.training and any(isinstance(m, torch.nn.BatchNorm1d) for m in transform.modules()):
        msg = "the transform is in training mode, its batch norm is not fixed; call eval() first"
        raise CompileError(msg)
    steps: list[Step] = []
    for layer in _leaves(transform):
        step = _step(layer, features, parametrisation, more)
        if isinstance(step, Linear) and steps and isinstance(steps[-1], Linear):
            steps[-1] = _joined(steps[-1], step)
        else:
            steps.append(step)
    return tuple(steps)


def _leaves(transform: Any) -> list[Any]:
    if isinstance(transform, CompositeTransform):
        return [leaf for part in transform._transforms for leaf in _leaves(part)]
    return [transform]


def _step(layer: Any, features: int, parametrisation: Parametrisation, more: Builders) -> Step:
    for kind, build in (*more.items(), *_BUILDERS.items()):
        if isinstance(layer, kind):
            return build(layer, features, parametrisation)
    msg = f"{type(layer).__name__} cannot be compiled; known are {[k.__name__ for k in _BUILDERS]}"
    raise CompileError(msg)


def _joined(first: Linear, second: Linear) -> Linear:
    return Linear(
        second.matrix @ first.matrix,
        first.inverse @ second.inverse,
        second.matrix @ first.bias + second.bias,
        first.log_det + second.log_det,
    )


def _permutation(layer: Any, features: int, _: Parametrisation) -> Linear:
    order = layer._permutation.cpu().numpy()
    if not np.array_equal(np.sort(order), np.arange(features)):
        msg = f"a permutation of {features} features has entries {order.tolist()}"
        raise CompileError(msg)
    matrix = np.eye(features)[order]
    return Linear(matrix, np.ascontiguousarray(matrix.T), np.zeros(features), 0.0)


def _lu(layer: Any, features: int, _: Parametrisation) -> Linear:
    raw = to_array(layer.unconstrained_upper_diag)
    diagonal = np.logaddexp(0.0, raw) + layer.eps
    lower, upper = np.eye(features), np.diag(diagonal)
    lower[layer.lower_indices] = to_array(layer.lower_entries)
    upper[layer.upper_indices] = to_array(layer.upper_entries)
    inverse = np.linalg.solve(upper, np.linalg.inv(lower))
    return Linear(lower @ upper, inverse, to_array(layer.bias), float(np.log(diagonal).sum()))


def _affine(layer: Any, features: int, parametrisation: Parametrisation) -> Affine:
    return Affine(compile_made(layer.autoregressive_net, features), parametrisation)


def _spline(layer: Any, features: int, _: Parametrisation) -> Spline:
    if layer.tails != "linear":
        msg = f"a spline with tails {layer.tails!r} cannot be compiled; linear tails can"
        raise CompileError(msg)
    made = compile_made(layer.autoregressive_net, features)
    final = shrunk(made.final, layer.num_bins, layer.autoregressive_net)
    made = replace(made, final=final)
    limits = Limits(layer.min_bin_width, layer.min_bin_height, layer.min_derivative, np.inf)
    return Spline(made, layer.num_bins, float(layer.tail_bound), limits)


_BUILDERS: Builders = {
    Permutation: _permutation,
    LULinear: _lu,
    MaskedAffineAutoregressiveTransform: _affine,
    MaskedPiecewiseRationalQuadraticAutoregressiveTransform: _spline,
    PiecewiseRationalQuadraticCouplingTransform: compile_coupling,
}


def compile_made(net: Any, features: int) -> Made:
    """Write a masked network: masks applied, units sorted, batch norm folded.

    Raises: CompileError unless it is nflows' MADE of ``features`` with relu.
    """
    if not isinstance(net, MADE) or net.initial_layer.in_features != features:
        msg = f"expected nflows' MADE of {features} features, found {type(net).__name__}"
        raise CompileError(msg)
    if net.activation not in (relu, torch.relu):
        msg = f"activation {net.activation} cannot be compiled; relu can"
        raise CompileError(msg)
    order, degrees = _sorted(net.initial_layer)
    first = _masked(net.initial_layer, order, np.arange(features))
    context = _context(net, order)
    blocks: list[Feedforward | Residual] = []
    for block in net.blocks:
        if isinstance(block, MaskedFeedforwardBlock):
            made, order = _feedforward(block, order)
            blocks.append(made)
        else:
            blocks.append(_residual(block, order, degrees))
    outputs = np.arange(net.final_layer.out_features)
    final = _masked(net.final_layer, outputs, order)
    return Made(first, context, degrees, not net.use_residual_blocks, tuple(blocks), final)


def _sorted(layer: Any) -> tuple[Order, Order]:
    degrees = layer.degrees.cpu().numpy()
    order = np.argsort(degrees, kind="stable")
    return order, degrees[order]


def _masked(layer: Any, rows: Order, columns: Order) -> Dense:
    weight = to_array(layer.weight) * to_array(layer.mask)
    return Dense(np.ascontiguousarray(weight[rows][:, columns]), to_array(layer.bias)[rows])


def _context(net: Any, order: Order) -> Dense | None:
    layer = getattr(net, "context_layer", None)
    if layer is None:
        return None
    return Dense(to_array(layer.weight)[order], to_array(layer.bias)[order])


def _norm(layer: Any, order: Order) -> tuple[Array, Array]:
    scale, shift = folded_norm(layer, len(order))
    return scale[order], shift[order]


def _feedforward(block: Any, order: Order) -> tuple[Feedforward, Order]:
    scale, shift = _norm(block.batch_norm, order)
    after, degrees = _sorted(block.linear)
    dense = _masked(block.linear, after, order)
    folded = Dense(dense.weight * scale, dense.bias + dense.weight @ shift)
    return Feedforward(folded, degrees), after


def _residual(block: Any, order: Order, degrees_before: Order) -> Residual:
    norms = block.batch_norm_layers if block.use_batch_norm else (None, None)
    scale, shift = _norm(norms[0], order)
    after = block.linear_layers[1].degrees.cpu().numpy()
    inside, degrees = _sorted(block.linear_layers[0])
    inner = _masked(block.linear_layers[0], inside, order)
    if not np.array_equal(after[order], degrees_before):
        msg = "a residual block changes the degrees of its units, so its sum has none"
        raise CompileError(msg)
    given = _context(block, inside)
    weight = np.zeros((len(inside), 0)) if given is None else given.weight
    bias = inner.bias if given is None else inner.bias + given.bias
    inner_scale, inner_shift = _norm(norms[1], inside)
    return Residual(
        scale,
        shift,
        Dense(inner.weight * inner_scale[:, None], bias * inner_scale + inner_shift),
        weight * inner_scale[:, None],
        _masked(block.linear_layers[1], order, inside),
        degrees,
    )
