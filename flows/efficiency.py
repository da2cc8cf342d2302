"""The calibrated probability that a generator object is reconstructed."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from flows.mlp import mlp
from flows.spec import MlpSpec

__all__ = ["Efficiency"]

NEWTON_STEPS = 20
RIDGE = 1e-6
SIGNIFICANT = 13.82
"""99.9 % quantile of χ² with two degrees of freedom."""


class Efficiency(nn.Module):
    r"""Classifier with Platt's calibration: :math:`p = \sigma(a\,f(c) + b)`.

    References: Platt (1999), *Probabilistic outputs for support vector machines*.

    Shapes: context ``(n, C)`` -> probability ``(n,)``.
    """

    def __init__(self, spec: MlpSpec) -> None:
        super().__init__()
        self.net = mlp(spec.inputs, spec.hidden, spec.outputs)
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))
        self.calibration: Tensor

    def logit(self, context: Tensor) -> Tensor:
        """Raw score ``(n,)`` before calibration."""
        return self.net(context)[:, 0]  # type: ignore[no-any-return]

    def forward(self, context: Tensor) -> Tensor:
        """Probability ``(n,)``."""
        return torch.sigmoid(self.calibration[0] * self.logit(context) + self.calibration[1])

    def loss(self, context: Tensor, label: Tensor) -> Tensor:
        """Cross entropy per row ``(n,)``, uncalibrated."""
        return binary_cross_entropy_with_logits(self.logit(context), label, reduction="none")

    @torch.no_grad()
    def calibrate(self, score: Tensor, label: Tensor) -> None:
        """Fit slope and offset on scores the network was not trained on, by Newton's method.

        The result is taken only if twice its gain in log-likelihood exceeds the 99.9 % quantile of
        χ² with two degrees of freedom: few rows would add their own noise to every object.
        Labels of one class alone leave the scores as they are.
        """
        y = label.double()
        weights = torch.tensor([1.0, 0.0], dtype=torch.float64)
        if len(y) and y.min() < y.max():
            weights = _newton(score.double(), y, weights)
        self.calibration.copy_(weights.float())


def _newton(score: Tensor, label: Tensor, start: Tensor) -> Tensor:
    x = torch.stack([score, torch.ones_like(score)], 1)
    weights = start
    for _ in range(NEWTON_STEPS):
        p = torch.sigmoid(x @ weights)
        gradient = x.T @ (p - label) / len(label)
        ridge = RIDGE * torch.eye(2, dtype=torch.float64)
        curvature = (x * (p * (1 - p))[:, None]).T @ x / len(label) + ridge
        proposal = weights - torch.linalg.solve(curvature, gradient)
        if _entropy(x @ proposal, label) > _entropy(x @ weights, label):
            break
        weights = proposal
    gain = 2 * len(label) * (_entropy(x @ start, label) - _entropy(x @ weights, label))
    return weights if weights[0] > 0 and gain > SIGNIFICANT else start


def _entropy(score: Tensor, label: Tensor) -> Tensor:
    return (softplus(score) - label * score).mean()
