"""Discrete columns as an autoregressive softmax: each given the context and those before it."""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from flows.masked import ContextMade
from flows.sampling import IncrementalMade
from flows.spec import HeadSpec

__all__ = ["CategoricalHead", "CategoricalSampler", "encode"]


def encode(codes: Tensor, sizes: tuple[int, ...], behind: Tensor | None = None) -> Tensor:
    """One-hot of every column side by side.

    Arguments:
        codes: ``(n, K)``, below ``sizes``.
        sizes: Values of every column.
        behind: Columns ``(n, F)`` to stand before them, whose type the result then has.
    Returns: ``(n, F + sum of sizes)``; uint8 where nothing stands before.
    """
    first = 0 if behind is None else behind.shape[1]
    dtype = torch.uint8 if behind is None else behind.dtype
    offsets = torch.tensor([*accumulate(sizes, initial=first)][:-1], dtype=torch.int64)
    encoded = torch.zeros(len(codes), first + sum(sizes), dtype=dtype, device=codes.device)
    if behind is not None:
        encoded[:, :first] = behind
    return encoded.scatter_(1, codes.long() + offsets.to(codes.device), 1)


class CategoricalHead(nn.Module):
    """Joint distribution of discrete columns given a context.

    Shapes: codes ``(n, K)`` below ``sizes``, context ``(n, C)`` -> log-probability ``(n,)``.

    Example:
        >>> head = CategoricalHead(HeadSpec(sizes=(2, 3), context=1, hidden=8))
        >>> pairs = torch.cartesian_prod(torch.arange(2), torch.arange(3))
        >>> total = head(encode(pairs, (2, 3)).float(), torch.zeros(6, 1)).exp().sum()
        >>> bool(abs(total - 1) < 1e-5)
        True
    """

    def __init__(self, spec: HeadSpec) -> None:
        super().__init__()
        self.spec = spec
        self.net = ContextMade(
            len(spec.sizes), spec.context, spec.hidden, spec.blocks, groups=spec.sizes
        )

    def forward(self, encoded: Tensor, context: Tensor) -> Tensor:
        """Log-probability of one-hot rows ``(n, sum of sizes)``."""
        sizes = list(self.spec.sizes)
        scores = torch.split(self.net(encoded, context), sizes, 1)
        columns = torch.split(encoded, sizes, 1)
        parts = [(log_softmax(s, 1) * c).sum(1) for s, c in zip(scores, columns)]
        return torch.stack(parts, 1).sum(1)


class CategoricalSampler:
    """Draws from a trained head by inverting cumulative probabilities, without gradient."""

    def __init__(self, head: CategoricalHead) -> None:
        self.sizes = head.spec.sizes
        self.net = IncrementalMade(head.net, list(self.sizes), list(self.sizes))

    @torch.inference_mode()
    def __call__(self, uniform: Tensor, context: Tensor) -> Tensor:
        """Turn uniforms ``(n, K)`` and context ``(n, C)`` into codes ``(n, K)``, int64."""
        drawn = torch.empty(len(self.sizes), len(uniform), dtype=torch.int64, device=uniform.device)
        u = uniform.T.contiguous()

        def choose(column: int, scores: Tensor) -> Tensor:
            weights = torch.softmax(scores, 0)
            passed = u[column] >= torch.cumsum(weights, 0)[:-1]
            drawn[column] = passed.sum(0)
            values = torch.arange(self.sizes[column], device=scores.device)[:, None]
            return (drawn[column] == values).to(scores.dtype)

        self.net.run(context.T.contiguous(), choose)
        return drawn.T.contiguous()
