"""A masked network evaluated variable by variable: every hidden unit is computed once.

A hidden unit of degree g needs the first g variables and hidden units of degree up to g. So when
variable g has been found, the units of degree g are computed once and for all, then the outputs of
the next variable: drawing all variables costs as much arithmetic as one forward pass. Rows run
along the contiguous axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from flows.masked import ContextMade

__all__ = ["IncrementalMade"]


class _Step(NamedTuple):
    """What one degree adds: units ``units``, fed by ``columns`` inputs and units up to ``stop``."""

    units: slice
    columns: int
    first: Tensor
    hidden: tuple[tuple[Tensor, Tensor], ...]
    outputs: Tensor
    bias: Tensor


class IncrementalMade:
    """The network of one layer, cut into steps of one variable.

    Arguments:
        net: The trained network; its weights are copied.
        sizes: Input columns per variable.
        outputs: Output columns per variable.
    """

    def __init__(self, net: ContextMade, sizes: list[int], outputs: list[int]) -> None:
        self.width = len(net.degrees)
        self.columns = sum(sizes)
        self.context = _linear(net.context_layer)
        self.blocks = [
            _linear(block.context_layer, block.linear_layers[0].bias) for block in net.blocks
        ]
        self.first_bias = net.initial_layer.bias.detach().clone()[:, None]
        self.second_bias = [
            block.linear_layers[1].bias.detach().clone()[:, None] for block in net.blocks
        ]
        self.steps = _cut(net, sizes, outputs)

    def run(self, context: Tensor, choose: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Find variable after variable.

        Arguments:
            context: ``(C, n)``.
            choose: Called with the number of the variable and its outputs ``(outputs, n)``;
                returns its input columns ``(columns, n)``.
        Returns: all input columns ``(sum of sizes, n)``.
        """
        rows = context.shape[1]
        weight, bias = self.context
        stream = torch.addmm(bias, weight, context).relu_().add_(self.first_bias)
        inner = [torch.addmm(b, w, context) for w, b in self.blocks]
        streams = [stream, *(stream.new_empty(self.width, rows) for _ in self.blocks)]
        before = [stream.new_empty(self.width, rows) for _ in self.blocks]
        between = [stream.new_empty(self.width, rows) for _ in self.blocks]
        found = stream.new_empty(self.columns, rows)
        at = 0
        for variable, step in enumerate(self.steps):
            units, stop = step.units, step.units.stop
            if step.columns:
                streams[0][units].addmm_(step.first, found[: step.columns])
            for b, (inside, outside) in enumerate(step.hidden):
                torch.clamp(streams[b][units], min=0.0, out=before[b][units])
                torch.addmm(inner[b][units], inside, before[b][:stop], out=between[b][units])
                between[b][units].relu_()
                torch.addmm(
                    streams[b][units] + self.second_bias[b][units],
                    outside,
                    between[b][:stop],
                    out=streams[b + 1][units],
                )
            scores = torch.addmm(step.bias, step.outputs, streams[-1][:stop])
            chosen = choose(variable, scores)
            found[at : at + len(chosen)] = chosen
            at += len(chosen)
        return found


def _linear(layer: Any, extra: Tensor | None = None) -> tuple[Tensor, Tensor]:
    bias = layer.bias.detach() if extra is None else layer.bias.detach() + extra.detach()
    return layer.weight.detach().clone(), bias.clone()[:, None]


def _cut(net: ContextMade, sizes: list[int], outputs: list[int]) -> list[_Step]:
    first = net.initial_layer.weight.detach()
    final, bias = net.final_layer.weight.detach(), net.final_layer.bias.detach()
    ends = torch.searchsorted(net.degrees, torch.arange(1, len(sizes) + 1)).tolist()
    steps, start, column, row = [], 0, 0, 0
    for variable, stop in enumerate(ends):
        units = slice(start, stop)
        hidden = tuple(
            (
                block.linear_layers[0].weight.detach()[units, :stop].contiguous(),
                block.linear_layers[1].weight.detach()[units, :stop].contiguous(),
            )
            for block in net.blocks
        )
        rows = slice(row, row + outputs[variable])
        steps.append(
            _Step(
                units,
                column,
                first[units, :column].contiguous(),
                hidden,
                final[rows, :stop].contiguous(),
                bias[rows, None].clone(),
            )
        )
        start, row, column = stop, rows.stop, column + sizes[variable]
    return steps
