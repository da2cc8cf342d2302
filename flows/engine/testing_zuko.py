"""What :mod:`flows.engine.testing` does, for flows of zuko that the caller builds."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from flows.engine.testing import demanding_data, reordered, scale_factor

__all__ = ["bend", "demanding_zuko_rows", "shuffled_zuko", "zuko_spread"]

PROBES = 512


@torch.no_grad()
def bend(flow: Any, features: int, context: int, seed: int = 0) -> Any:
    """Scale the last layer of every spline until its ln slope spreads as a trained flow's does.

    Arguments:
        flow: ``zuko.flows.NSF`` with context or more than one feature, changed in place.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(PROBES, features, generator=generator)
    c = torch.randn(PROBES, context, generator=generator) if context else None
    for step in flow.transform.transforms:
        last = step.hyper[-1]
        weight, bias = last.weight.clone(), last.bias.clone()

        def spread_of(
            factor: float, step: Any = step, x: Tensor = x, kept: Any = (last, weight, bias)
        ) -> float:
            layer, weight, bias = kept
            layer.weight.copy_(weight * factor)
            layer.bias.copy_(bias * factor)
            return zuko_spread(step, x, c)

        scale_factor(spread_of)
        x = step(c)(x)
    return flow.eval()


@torch.no_grad()
def zuko_spread(step: Any, x: Tensor, context: Tensor | None) -> float:
    """Standard deviation of ln slope over rows and features of a lazy transform."""
    transform = step(context)
    spline = transform.meta(x) if hasattr(transform, "meta") else transform
    return float(spline.base.call_and_ladj(x)[1].std())


@torch.no_grad()
def demanding_zuko_rows(
    flow: Any, n: int, features: int, context: int, seed: int = 1
) -> tuple[Tensor, Tensor | None]:
    """Noise and context as those of :func:`flows.engine.testing.demanding_rows`."""
    x, c = demanding_data(n, features, context, seed)
    given = None if c is None else c.double()
    z = copy.deepcopy(flow).double()(given).transform(x.double())
    return z.float().double(), given


def shuffled_zuko(flow: Any, seed: int = 2) -> Any:
    """Copy a flow with the hidden units of its networks in another order: same function."""
    generator = torch.Generator().manual_seed(seed)
    other = copy.deepcopy(flow)
    for step in other.transform.transforms:
        layers = [m for m in step.hyper if hasattr(m, "weight")]
        blocks = [m for m in step.hyper if len(list(m.children())) == 3]
        if blocks:
            _shuffle_residual(layers, blocks, generator)
            continue
        order = None
        for layer in layers:
            inner = None
            if layer is not layers[-1]:
                inner = torch.randperm(len(layer.bias), generator=generator)
            reordered(layer, inner, order)
            order = inner
    return other


def _shuffle_residual(layers: list[Any], blocks: list[Any], generator: torch.Generator) -> None:
    first, last = layers
    stream = torch.randperm(len(first.bias), generator=generator)
    reordered(first, stream, None)
    for inner, _, outer in blocks:
        inside = torch.randperm(len(inner.bias), generator=generator)
        reordered(inner, inside, stream)
        reordered(outer, stream, inside)
    reordered(last, None, stream)
