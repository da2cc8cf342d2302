"""Numbers of samples: a Poisson distribution whose mean is learnt."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from flows.mlp import mlp
from flows.spec import MlpSpec

__all__ = ["PoissonMean"]

LARGEST = 30.0
"""Logarithm of a mean per unit of exposure: far beyond any detector, still a float32."""


class PoissonMean(nn.Module):
    r"""Mean number per context, :math:`\mu = e\,\exp f(c)`, in proportion to an exposure e.

    Shapes: context ``(n, C)``, exposure ``(n,)`` -> mean ``(n,)``.

    Arguments:
        spec: Network f with one output.

    Example:
        >>> net = PoissonMean(MlpSpec(3, (16,)))
        >>> net.start(torch.tensor([8.0, 4.0]), torch.tensor([2.0, 1.0]))
        >>> round(float(net.per_exposure(torch.zeros(1, 3)).detach()), 3)
        4.0
    """

    def __init__(self, spec: MlpSpec) -> None:
        super().__init__()
        self.spec = spec
        self.net = mlp(spec.inputs, spec.hidden, spec.outputs)

    def per_exposure(self, context: Tensor) -> Tensor:
        """Mean per unit of exposure ``(n,)``."""
        return torch.exp(self._logarithm(context))

    def loss(self, context: Tensor, exposure: Tensor, number: Tensor) -> Tensor:
        """Half of Poisson's deviance ``(n,)``: about one half where the mean is right."""
        logarithm = self._logarithm(context) + torch.log(exposure)
        saturated = torch.xlogy(number, number) - number
        return torch.exp(logarithm) - number * logarithm + saturated

    @torch.no_grad()
    def start(self, number: Tensor, exposure: Tensor) -> None:
        """Begin at the mean of all: a last layer of zeros with that bias."""
        last: Any = self.net[-1]
        nn.init.zeros_(last.weight)
        share = float(number.double().sum()) / float(exposure.double().sum())
        nn.init.constant_(last.bias, math.log(share))

    def _logarithm(self, context: Tensor) -> Tensor:
        return self.net(context)[:, 0].clamp(max=LARGEST)  # type: ignore[no-any-return]
