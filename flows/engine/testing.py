"""Random flows whose steps really bend their input, for tests and benchmarks.

Twenty steps of default weights overflow, steps initialised as the identity test nothing. Here the
weights of every step are scaled until the logarithm of its slope varies as a trained flow's does.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from nflows.nn.nets import ResidualNet
from nflows.transforms.autoregressive import (
    MaskedAffineAutoregressiveTransform,
    MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
)
from nflows.transforms.base import CompositeTransform
from nflows.transforms.coupling import PiecewiseRationalQuadraticCouplingTransform
from nflows.transforms.lu import LULinear
from nflows.transforms.made import MADE
from nflows.transforms.permutations import RandomPermutation
from nflows.utils.torchutils import create_alternating_binary_mask, create_random_binary_mask
from torch import Tensor, nn
from torch.nn.functional import softplus

__all__ = [
    "SPREAD",
    "demanding_data",
    "demanding_rows",
    "random_transform",
    "reordered",
    "scale_factor",
    "shuffled",
    "slope_spread",
]

SPREAD = 0.33
"""Standard deviation of ln slope that every step is scaled to."""
FAR = 2.0
"""Contexts far from training lie this many times further out."""
PROBES = 512
HALVINGS = 30


def random_transform(
    kind: str,
    features: int,
    context: int | None,
    *,
    steps: int = 3,
    hidden: int = 32,
    blocks: int = 2,
    residual: bool = True,
    batch_norm: bool = False,
    bins: int = 8,
    bound: float = 3.0,
    share: float = 1.0,
    seed: int = 0,
) -> Any:
    """Build ``steps`` times (permutation, LU, masked or coupling step) in evaluation mode.

    Every such step gets a spread of ln slope of :data:`SPREAD` on normal input, every LU the
    diagonal that brings the σ of its output back to one.

    Arguments:
        kind: ``affine``, ``spline``, or ``coupling``, whose masks are alternating and random in
            turn.
        share: Of an affine step's spread that comes from its network, the rest being constant: deep
            flows whose networks do it all have inverses so unstable that no rounding is small.
    Returns: nflows' composite, float32.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(PROBES, features, generator=generator)
    given = None if context is None else torch.randn(PROBES, context, generator=generator)
    options = {
        "hidden_features": hidden,
        "context_features": context,
        "num_blocks": blocks,
        "use_residual_blocks": residual,
        "use_batch_norm": batch_norm,
    }
    layers: list[Any] = []
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(seed)
        for number in range(steps):
            layers += [RandomPermutation(features), _linear(x)]
            for layer in layers[-2:]:
                x, _ = layer(x)
            if kind == "affine":
                step = MaskedAffineAutoregressiveTransform(features, **options)
            elif kind == "spline":
                splines = {"num_bins": bins, "tails": "linear", "tail_bound": bound}
                step = MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
                    features, **splines, **options
                )
            else:
                step = _coupling(number, features, bins, bound, options)
            _scale(step, x, given, share)
            layers.append(step)
            x, _ = step(x, given)
    return CompositeTransform(layers).eval()


@torch.no_grad()
def slope_spread(step: Any, x: Tensor, context: Tensor | None) -> float:
    """Standard deviation of ln slope over rows and features that a step transforms."""
    if isinstance(step, PiecewiseRationalQuadraticCouplingTransform):
        moved = x[:, step.transform_features]
        raw = step.transform_net(x[:, step.identity_features], context)
        return float(step._piecewise_cdf(moved, raw.view(*moved.shape, -1))[1].std())
    raw = step.autoregressive_net(x, context)
    if isinstance(step, MaskedAffineAutoregressiveTransform):
        scale, _ = step._unconstrained_scale_and_shift(raw)
        return float(torch.log(softplus(scale) + step._epsilon).std())
    # every value as a row of its own: nflows sums ln slope over the features of a row
    single = step._elementwise_forward(x.reshape(-1, 1), raw.reshape(x.numel(), -1))[1]
    return float(single.std())


def demanding_rows(
    transform: Any, n: int, features: int, context: int | None, seed: int = 1
) -> tuple[Tensor, Tensor | None]:
    """Noise ``(n, D)`` and context ``(n, C)``, float64 that float32 holds exactly.

    The noise is what the transform makes of normal data, a tenth of it with a feature at ± 10 σ, a
    tenth with a context :data:`FAR` times as far out, a tenth repeating the row before: so the
    inverse gives just that data. Noise that is drawn so far out may have data beyond 10²⁰, where
    none is right.
    """
    x, c = demanding_data(n, features, context or 0, seed)
    given = None if c is None else c.double()
    with torch.no_grad():
        z, _ = copy.deepcopy(transform).double()(x.double(), given)
    return z.float().double(), given


def demanding_data(n: int, features: int, context: int, seed: int) -> tuple[Tensor, Tensor | None]:
    """Data and context that :func:`demanding_rows` starts from; a context of 0 is ``None``."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, features, generator=generator)
    c = torch.randn(n, context, generator=generator) if context else None
    x[::10, -1] = 10 * torch.sign(x[::10, -1])
    x[6::10] = x[5::10][: len(x[6::10])]
    if c is not None:
        c[3::10] *= FAR
        c[6::10] = c[5::10][: len(c[6::10])]
    return x, c


def shuffled(transform: Any, seed: int = 2) -> Any:
    """Copy a transform with the hidden units of its networks in another order: same function."""
    generator = torch.Generator().manual_seed(seed)
    other = copy.deepcopy(transform)
    for net in other.modules():
        if isinstance(net, MADE):
            _shuffle(net, generator)
        if isinstance(net, ResidualNet):
            _shuffle_residual(net, generator)
    return other


def _coupling(number: int, features: int, bins: int, bound: float, options: dict[str, Any]) -> Any:
    make = create_random_binary_mask if number % 2 else create_alternating_binary_mask

    def network(inputs: int, outputs: int) -> ResidualNet:
        known = {k: v for k, v in options.items() if k != "use_residual_blocks"}
        return ResidualNet(inputs, outputs, **known)

    return PiecewiseRationalQuadraticCouplingTransform(
        make(features), network, num_bins=bins, tails="linear", tail_bound=bound
    )


def _linear(x: Tensor) -> Any:
    """LU with small random factors that brings the mean σ of ``x`` to one."""
    features = x.shape[1]
    layer = LULinear(features)
    for entries in (layer.lower_entries, layer.upper_entries):
        entries.normal_(0, 0.3 / math.sqrt(features))
    layer.bias.normal_(0, 0.1)
    wanted = max(1 / float(x.std()), 0.01)
    layer.unconstrained_upper_diag.fill_(math.log(math.expm1(wanted)))
    return layer


def _scale(step: Any, x: Tensor, context: Tensor | None, share: float) -> None:
    """Scale a step's last layer until ln slope has the wanted spread; settle its batch norm."""
    coupling = isinstance(step, PiecewiseRationalQuadraticCouplingTransform)
    net = step.transform_net if coupling else step.autoregressive_net
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = 1.0
    for block in net.blocks:
        if hasattr(block, "linear_layers"):
            block.linear_layers[-1].reset_parameters()
    net.train()(x[:, step.identity_features] if coupling else x, context)
    net.eval()
    final = net.final_layer
    weight, bias = final.weight.clone(), final.bias.clone()
    centre, constant = torch.zeros_like(bias), torch.zeros_like(bias)
    if isinstance(step, MaskedAffineAutoregressiveTransform):
        centre[::2] = math.log(math.expm1(1))
        constant[::2] = torch.randn(len(constant) // 2)

    def set_network(factor: float) -> float:
        final.weight.copy_(weight * factor)
        final.bias.copy_(bias * factor + centre)
        return slope_spread(step, x, context)

    scale_factor(set_network, share * SPREAD)
    shared = final.bias.clone()

    def set_constant(factor: float) -> float:
        final.bias.copy_(shared + constant * factor)
        return slope_spread(step, x, context)

    if share < 1:
        scale_factor(set_constant, SPREAD)


def scale_factor(spread_of: Callable[[float], float], wanted: float = SPREAD) -> None:
    """Apply the factor that gives the wanted spread, between 10⁻³ and 10³."""
    low, high = 1e-3, 1e3
    for _ in range(HALVINGS):
        factor = math.sqrt(low * high)
        low, high = (factor, high) if spread_of(factor) < wanted else (low, factor)


def _shuffle(net: Any, generator: torch.Generator) -> None:
    stream = torch.randperm(len(net.initial_layer.degrees), generator=generator)
    reordered(net.initial_layer, stream, None)
    if hasattr(net, "context_layer"):
        reordered(net.context_layer, stream, None)
    for block in net.blocks:
        inside = torch.randperm(len(stream), generator=generator)
        if hasattr(block, "linear_layers"):
            first, second = block.linear_layers
            reordered(first, inside, stream)
            reordered(second, stream, inside)
            if hasattr(block, "context_layer"):
                reordered(block.context_layer, inside, None)
            if block.use_batch_norm:
                _reorder_norm(block.batch_norm_layers[0], stream)
                _reorder_norm(block.batch_norm_layers[1], inside)
            continue
        reordered(block.linear, inside, stream)
        if block.batch_norm is not None:
            _reorder_norm(block.batch_norm, stream)
        stream = inside
    reordered(net.final_layer, None, stream)


def _shuffle_residual(net: Any, generator: torch.Generator) -> None:
    width = net.initial_layer.out_features
    stream = torch.randperm(width, generator=generator)
    reordered(net.initial_layer, stream, None)
    for block in net.blocks:
        inside = torch.randperm(width, generator=generator)
        first, second = block.linear_layers
        reordered(first, inside, stream)
        reordered(second, stream, inside)
        if hasattr(block, "context_layer"):
            reordered(block.context_layer, stream, None)
        if block.use_batch_norm:
            _reorder_norm(block.batch_norm_layers[0], stream)
            _reorder_norm(block.batch_norm_layers[1], inside)
    reordered(net.final_layer, None, stream)


def reordered(layer: Any, rows: Tensor | None, columns: Tensor | None) -> None:
    """Bring outputs and inputs of a layer into another order, its mask too."""
    for name in ("weight", "mask"):
        if hasattr(layer, name):
            matrix = getattr(layer, name).data
            matrix = matrix if rows is None else matrix[rows]
            getattr(layer, name).data = matrix if columns is None else matrix[:, columns]
    if rows is not None:
        layer.bias.data = layer.bias.data[rows]
        if hasattr(layer, "degrees"):
            layer.degrees = layer.degrees[rows]


def _reorder_norm(norm: Any, rows: Tensor) -> None:
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(norm, name).data = getattr(norm, name).data[rows]
