"""A plan in plain torch, on any device: yardstick of the compiled way and fallback for it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear, relu, silu, softplus

from flows.engine.plan import (
    Affine,
    Coupling,
    Dense,
    Feedforward,
    Linear,
    Made,
    Plan,
    Residual,
    ResidualNet,
    Spline,
)
from flows.spline import spline_forward, spline_inverse

__all__ = ["TorchFlow", "needed", "scale_of"]


class TorchFlow:
    """A flow of a plan as tensors of one type on one device.

    Arguments:
        plan: What to compute.
        dtype: ``torch.float32`` or ``torch.float64``.
        device: Where.
    Shapes: x, z ``(n, D)``, context ``(n, C)``, or ``None`` for a plan without.
    """

    way: ClassVar[str] = "torch"
    """What computes, for reports."""

    def __init__(
        self, plan: Plan, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
    ) -> None:
        self.plan, self.dtype, self.device = plan, dtype, torch.device(device)
        self._tensors: dict[int, Tensor] = {}
        self._indices: dict[tuple[int, ...], Tensor] = {}

    @torch.no_grad()
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data to noise; also ln \\|det ∂z/∂x\\| ``(n,)``."""
        return self.to_noise(x, context)

    def to_noise(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Do what :meth:`forward` does, with gradients."""
        given = self.embed(context)
        ladj = x.new_zeros(len(x))
        for step in self.plan.steps:
            if isinstance(step, Linear):
                x = linear(x, self.tensor(step.matrix), self.tensor(step.bias))
                ladj = ladj + self.log_det(step)
            elif isinstance(step, Affine):
                x, slope = self._affine(step, x, self.evaluate(step.made, x, given))
                ladj = ladj + slope.sum(1)
            elif isinstance(step, Coupling):
                x, slope = self.couple(step, x, given, inverse=False)
                ladj = ladj + slope
            else:
                raw = _by_feature(self.evaluate(step.made, x, given), x)
                x, slope = self.splined(step, x, raw)
                ladj = ladj + slope.sum(1)
        return x, ladj

    @torch.no_grad()
    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Map noise to data, every hidden unit computed once."""
        given = self.embed(context)
        for step in reversed(self.plan.steps):
            if isinstance(step, Linear):
                z = linear(z - self.tensor(step.bias), self.tensor(step.inverse))
            elif isinstance(step, Coupling):
                z, _ = self.couple(step, z, given, inverse=True)
            else:
                z = self.invert(step, z, given)
        return z

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """ln p(x | context) ``(n,)``."""
        z, ladj = self.forward(x, context)
        return ladj + self.base_log_prob(z)

    def base_log_prob(self, z: Tensor) -> Tensor:
        """Log-density of noise ``(n,)``."""
        loc, scale = self.tensor(self.plan.base.loc), self.tensor(self.plan.base.scale)
        constant = float(np.log(self.plan.base.scale).sum())
        constant += 0.5 * self.plan.features * math.log(2 * math.pi)
        return -0.5 * ((z - loc) / scale).square().sum(1) - constant

    def log_det(self, step: Linear) -> float | Tensor:
        """Logarithm of the volume that a linear step makes of one."""
        return step.log_det

    def tensor(self, array: Any) -> Tensor:
        """Copy an array of the plan to the device, once."""
        if id(array) not in self._tensors:
            tensor = torch.as_tensor(array).to(self.device, self.dtype)
            self._tensors[id(array)] = tensor
        return self._tensors[id(array)]

    def index(self, places: Iterable[int]) -> Tensor:
        """Copy positions to the device, once."""
        key = tuple(int(i) for i in places)
        if key not in self._indices:
            self._indices[key] = torch.tensor(key, dtype=torch.int64, device=self.device)
        return self._indices[key]

    def dense(self, x: Tensor, dense: Dense) -> Tensor:
        """Apply a layer to ``(n, in)``."""
        return linear(x, self.tensor(dense.weight), self.tensor(dense.bias))

    def embed(self, context: Tensor | None) -> Tensor | None:
        """Digest the context."""
        for layer in self.plan.embedding:
            context = silu(self.dense(needed(context), layer))
        return context

    def evaluate(self, made: Made, x: Tensor, given: Tensor | None) -> Tensor:
        """Outputs ``(n, D · outputs)`` of a network at features and digested context."""
        h = self.dense(x, made.first) + self.digested(made, given)
        h = relu(h) if made.rectified else h
        for block in made.blocks:
            if isinstance(block, Feedforward):
                h = relu(self.dense(h, block.dense))
                continue
            a = h
            if block.rectified:
                a = relu(h * self.tensor(block.scale) + self.tensor(block.shift))
            u = self.dense(a, block.inner)
            if block.context.shape[1]:
                u = u + linear(needed(given), self.tensor(block.context))
            added = self.dense(relu(u), block.outer)
            h = h + (added if block.gate is None else added * self.gate(block.gate, given))
        return self.dense(h, made.final)

    def digested(self, made: Made, given: Tensor | None) -> Tensor | float:
        """What the first layer receives of the context: ``(n, H)``, or 0 if there is none."""
        if made.context is None:
            return 0.0
        h = self.dense(needed(given), made.context)
        return relu(h) if made.context_rectified else h

    def gate(self, dense: Dense, given: Tensor | None) -> Tensor:
        """Factors of a gated block ``(n, H)``."""
        return torch.sigmoid(self.dense(needed(given), dense))

    def _network(self, net: ResidualNet, x: Tensor, given: Tensor | None) -> Tensor:
        h = self.dense(x, net.first)
        for block in net.blocks:
            a = relu(h * self.tensor(block.scale) + self.tensor(block.shift))
            a = self.dense(relu(self.dense(a, block.inner)), block.outer)
            h = h + (a if block.gate is None else a * self.gate(block.gate, given))
        return self.dense(h, net.final)

    def splined(self, step: Spline, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Transform ``x`` ``(n, D)`` by parameters ``(n, D, 3 K − 1)``; also the log-slopes."""
        return spline_forward(x, raw, step.bins, step.bound, step.limits)

    def couple(
        self, step: Coupling, x: Tensor, given: Tensor | None, *, inverse: bool
    ) -> tuple[Tensor, Tensor]:
        """Transform the moved features; also the sum of their log-slopes, of forward alone."""
        kept, moved = self.index(step.kept), self.index(step.moved)
        seen = x[:, kept]
        if step.net.first.weight.shape[1] > len(kept):
            seen = torch.cat([seen, needed(given)], 1)
        outputs = len(step.net.final.bias) // len(step.moved)
        raw = self._network(step.net, seen, given).view(len(x), len(step.moved), outputs)
        shape = step.bins, step.bound, step.limits
        if inverse:
            y, slope = spline_inverse(x[:, moved], raw, *shape), x.new_zeros(len(x), 0)
        else:
            y, slope = spline_forward(x[:, moved], raw, *shape)
        result = x.clone()
        result[:, moved] = y
        return result, slope.sum(1)

    def invert(self, step: Affine | Spline, z: Tensor, given: Tensor | None) -> Tensor:
        """Map noise ``(n, D)`` to data through one autoregressive step."""
        x = torch.empty_like(z)
        outputs = len(step.made.final.bias) // z.shape[1]
        network = _Incremental(self, step.made, x, given)
        for d in range(z.shape[1]):
            raw = network.outputs(d, slice(outputs * d, outputs * (d + 1)))
            if isinstance(step, Affine):
                x[:, d] = (z[:, d] - raw[:, 1]) / scale_of(raw[:, 0], step)
            else:
                x[:, d] = spline_inverse(z[:, d], raw, step.bins, step.bound, step.limits)
        return x

    def _affine(self, step: Affine, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = _by_feature(parameters, x).unbind(2)
        scale = scale_of(raw, step)
        bound = step.rule.shift_bound
        return x * scale + shift.clamp(-bound, bound), torch.log(scale)


class _Incremental:
    """A masked network evaluated degree by degree, while the features ``x`` fill up."""

    def __init__(self, flow: TorchFlow, made: Made, x: Tensor, given: Tensor | None) -> None:
        self.flow, self.made, self.x = flow, made, x
        bias = flow.tensor(made.first.bias)
        first = bias.expand(len(x), -1).clone()
        first += flow.digested(made, given)
        self.streams = [first]
        self.activated: list[Tensor] = []
        self.inner: list[Tensor] = []
        self.gates: list[Tensor | None] = []
        for block in made.blocks:
            width = len(block.degrees)
            if isinstance(block, Residual):
                start = flow.tensor(block.inner.bias).expand(len(x), -1).clone()
                if block.context.shape[1]:
                    start += linear(needed(given), flow.tensor(block.context))
                self.inner.append(start)
                self.gates.append(None if block.gate is None else flow.gate(block.gate, given))
                self.activated.append(torch.empty_like(first))
                width = first.shape[1]
            self.streams.append(x.new_empty(len(x), width))

    def outputs(self, feature: int, rows: slice) -> Tensor:
        """Compute the units of degree ``feature``, then the outputs ``rows`` ``(n, outputs)``."""
        made, flow = self.made, self.flow
        now, h = _units(made.degrees, feature), self.streams[0]
        weight = flow.tensor(made.first.weight)[now, :feature]
        h[:, now] += linear(self.x[:, :feature], weight)
        if made.rectified:
            h[:, now] = relu(h[:, now])
        for b, block in enumerate(made.blocks):
            before, after = self.streams[b], self.streams[b + 1]
            if isinstance(block, Feedforward):
                was, now = now, _units(block.degrees, feature)
                after[:, now] = relu(self._part(before, block.dense, now, was.stop))
                continue
            a, u = self.activated[b], self.inner[b]
            scale, shift = flow.tensor(block.scale)[now], flow.tensor(block.shift)[now]
            a[:, now] = before[:, now]
            if block.rectified:
                a[:, now] = relu(a[:, now] * scale + shift)
            inside = _units(block.degrees, feature)
            weight = flow.tensor(block.inner.weight)[inside, : now.stop]
            u[:, inside] = relu(u[:, inside] + linear(a[:, : now.stop], weight))
            added, gate = self._part(u, block.outer, now, inside.stop), self.gates[b]
            after[:, now] = before[:, now] + (added if gate is None else added * gate[:, now])
        return self._part(self.streams[-1], made.final, rows, now.stop)

    def _part(self, x: Tensor, dense: Dense, rows: slice, columns: int) -> Tensor:
        weight, bias = self.flow.tensor(dense.weight), self.flow.tensor(dense.bias)
        return linear(x[:, :columns], weight[rows, :columns], bias[rows])


def _by_feature(parameters: Tensor, x: Tensor) -> Tensor:
    return parameters.view(len(x), x.shape[1], parameters.shape[1] // x.shape[1])


def _units(degrees: Any, degree: int) -> slice:
    return slice(*(int(i) for i in np.searchsorted(degrees, (degree, degree + 1))))


def scale_of(raw: Tensor, step: Affine) -> Tensor:
    """Scale of an affine step from the raw output of its network."""
    return (softplus(raw) + step.rule.least).clamp(max=step.rule.most)


def needed(context: Tensor | None) -> Tensor:
    """Return the context.

    Raises: ValueError if there is none.
    """
    if context is None:
        msg = "the flow is conditional; give it a context of one row per sample"
        raise ValueError(msg)
    return context
