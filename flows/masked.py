"""Masked networks in which every output, the first too, sees the context."""

from __future__ import annotations

from typing import Any

import torch
from nflows.transforms.made import MADE
from torch import Tensor

__all__ = ["ContextMade"]


class ContextMade(MADE):  # type: ignore[misc]
    """nflows' MADE with hidden degrees from 0 instead of 1.

    In nflows a hidden unit of the lowest degree already sees the first feature, so the outputs of
    that feature depend on nothing, not even on the context. Here units of degree g see the
    features before g: those of degree 0 see the context alone, and feed every output.

    References: MADE (Germain et al., 2015), arXiv:1502.03509

    Shapes: inputs ``(n, features)``, context ``(n, context)`` -> ``(n, features · multiplier)``;
    with ``groups`` the inputs are one-hot columns and the outputs one score per value.

    Arguments:
        features: Number of autoregressive variables.
        context: Number of context columns.
        hidden: Width of the hidden layers.
        blocks: Residual blocks.
        multiplier: Outputs per variable.
        groups: Columns per variable, for variables that come one-hot encoded.
    """

    def __init__(
        self,
        features: int,
        context: int,
        hidden: int,
        blocks: int,
        multiplier: int = 1,
        groups: tuple[int, ...] | None = None,
    ) -> None:
        columns = features if groups is None else sum(groups)
        super().__init__(
            columns,
            hidden,
            context_features=context,
            num_blocks=blocks,
            output_multiplier=multiplier,
            activation=torch.relu,
        )
        sizes = torch.tensor(groups or (1,) * features)
        entering = torch.repeat_interleave(torch.arange(1, features + 1), sizes)
        leaving = torch.repeat_interleave(entering, multiplier)
        degrees = torch.sort(torch.arange(hidden) % features).values
        _mask(self.initial_layer, degrees, degrees[:, None] >= entering)
        for block in self.blocks:
            for layer in block.linear_layers:
                _mask(layer, degrees, degrees[:, None] >= degrees)
        _mask(self.final_layer, leaving, leaving[:, None] > degrees)

    @property
    def degrees(self) -> Tensor:
        """Degree of every hidden unit, ascending: how many variables it may see."""
        degrees: Tensor = self.initial_layer.degrees
        return degrees


def _mask(layer: Any, degrees: Tensor, mask: Tensor) -> None:
    """Replace the mask; it follows from the specification, so it is not stored with the weights."""
    layer.register_buffer("mask", mask.to(layer.weight.dtype), persistent=False)
    layer.register_buffer("degrees", degrees, persistent=False)
