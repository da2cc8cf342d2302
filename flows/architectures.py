"""Conditional flows built from a specification, out of nflows' layers."""

from __future__ import annotations

import math
from typing import Any

import torch
from nflows.transforms.autoregressive import (
    AutoregressiveTransform,
    MaskedAffineAutoregressiveTransform,
)
from nflows.transforms.base import CompositeTransform
from nflows.transforms.permutations import Permutation
from torch import Tensor, nn

from flows.kernels import fused_spline
from flows.masked import ContextMade
from flows.mlp import mlp
from flows.spec import FlowSpec
from flows.spline import MIN_DERIVATIVE, spline_inverse

__all__ = ["ConditionalFlow", "MaskedAffine", "MaskedSpline"]

AFFINE_OUTPUTS = 2


class MaskedSpline(AutoregressiveTransform):  # type: ignore[misc]
    """Autoregressive rational-quadratic spline, nflows' parametrisation, fused evaluation.

    Starts as the identity: the last layer begins with zero weights and the bias of unit slopes.

    Shapes: x ``(n, D)``, context ``(n, C)`` -> y ``(n, D)``, ladj ``(n,)``.
    """

    def __init__(self, spec: FlowSpec, context: int) -> None:
        self.bins, self.bound, self.features = spec.bins, spec.bound, spec.features
        multiplier = 3 * spec.bins - 1
        net = ContextMade(spec.features, context, spec.hidden, spec.blocks, multiplier)
        super().__init__(net)
        unit_slope = math.log(math.expm1(1 - MIN_DERIVATIVE))
        bias = torch.zeros(spec.features, multiplier)
        bias[:, 2 * spec.bins :] = unit_slope
        nn.init.uniform_(net.final_layer.weight, -1e-3, 1e-3)
        net.final_layer.bias.data.copy_(bias.flatten())

    def _elementwise_forward(self, inputs: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shaped = parameters.view(len(inputs), self.features, -1)
        return fused_spline(inputs, shaped, self.bins, self.bound)

    def _elementwise_inverse(self, inputs: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shaped = parameters.view(len(inputs), self.features, -1)
        outputs = spline_inverse(inputs, shaped, self.bins, self.bound)
        _, ladj = fused_spline(outputs, shaped, self.bins, self.bound)
        return outputs, -ladj


class MaskedAffine(MaskedAffineAutoregressiveTransform):  # type: ignore[misc]
    """nflows' autoregressive affine layer on a network whose first output sees the context."""

    def __init__(self, spec: FlowSpec, context: int) -> None:
        super().__init__(spec.features, 1, context_features=context, num_blocks=0)
        net = ContextMade(spec.features, context, spec.hidden, spec.blocks, AFFINE_OUTPUTS)
        nn.init.uniform_(net.final_layer.weight, -1e-3, 1e-3)
        bias = torch.zeros(spec.features, AFFINE_OUTPUTS)
        bias[:, 0] = math.log(math.expm1(1 - self._epsilon))
        net.final_layer.bias.data.copy_(bias.flatten())
        self.autoregressive_net = net


class ConditionalFlow(nn.Module):
    """A flow of the specification: density by :meth:`log_prob`, its layers for a sampler.

    Arguments:
        spec: What to build.
    Shapes: x ``(n, D)``, context ``(n, C)``.

    Example:
        >>> flow = ConditionalFlow(FlowSpec(features=3, context=2, hidden=16, bins=4))
        >>> x, c = torch.randn(5, 3), torch.randn(5, 2)
        >>> z, ladj = flow.to_noise(x, c)
        >>> torch.allclose(flow.from_noise(z, c), x, atol=1e-3)
        True
    """

    def __init__(self, spec: FlowSpec) -> None:
        super().__init__()
        self.spec = spec
        width = spec.embedding[-1] if spec.embedding else spec.context
        self.embedding: nn.Module = (
            nn.Sequential(mlp(spec.context, spec.embedding[:-1], width), nn.SiLU())
            if spec.embedding
            else nn.Identity()
        )
        generator = torch.Generator().manual_seed(spec.seed)
        layers: list[Any] = []
        for layer in spec.layers:
            if layer.order != "same":
                layers.append(Permutation(_order(layer.order, spec.features, generator)))
            build = MaskedAffine if layer.kind == "affine" else MaskedSpline
            layers.append(build(spec, width))
        self.transform = CompositeTransform(layers)

    def to_noise(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Map data to noise; also the log-determinant ``(n,)``."""
        z, ladj = self.transform(x, self.embedding(context))
        return z, ladj

    def from_noise(self, z: Tensor, context: Tensor) -> Tensor:
        """Map noise to data by nflows' D passes: slow, the reference for the sampler."""
        x, _ = self.transform.inverse(z, self.embedding(context))
        return x  # type: ignore[no-any-return]

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Log-density of every row ``(n,)``."""
        z, ladj = self.to_noise(x, context)
        return ladj - 0.5 * (z.square().sum(1) + self.spec.features * math.log(2 * math.pi))


def _order(name: str, features: int, generator: torch.Generator) -> Tensor:
    if name == "reverse":
        return torch.arange(features - 1, -1, -1)
    return torch.randperm(features, generator=generator)
