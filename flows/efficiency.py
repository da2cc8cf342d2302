"""The calibrated probability that a generator object is reconstructed."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from flows.masked import mlp
from flows.spec import MlpSpec

__all__ = ["Efficiency"]

NEWTON_STEPS = 20
RIDGE = 1e-6


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

        Labels of one class alone, or scores that tell nothing apart, leave the slope at one.
        """
        x = torch.stack([score.double(), torch.ones_like(score, dtype=torch.float64)], 1)
        y = label.double()
        if len(y) == 0 or y.min() == y.max():
            self.calibration.copy_(torch.tensor([1.0, 0.0]))
            return
        weights = torch.tensor([1.0, 0.0], dtype=torch.float64)
        for _ in range(NEWTON_STEPS):
            p = torch.sigmoid(x @ weights)
            gradient = x.T @ (p - y) / len(y)
            curvature = (x * (p * (1 - p))[:, None]).T @ x / len(y) + RIDGE * torch.eye(2)
            step = torch.linalg.solve(curvature.double(), gradient)
            proposal = weights - step
            if _entropy(x @ proposal, y) > _entropy(x @ weights, y):
                break
            weights = proposal
        if weights[0] > 0:
            self.calibration.copy_(weights.float())


def _entropy(score: Tensor, label: Tensor) -> Tensor:
    return (softplus(score) - label * score).mean()
