"""Flows of one feature: their networks see the context alone, so once per context is enough.

A masked network of one feature sees no feature at all: the parameters of its step follow from the
context, and every sample of that context shares them. The network then costs once per context,
a sample costs its noise and a one-dimensional spline.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flows.engine import repeated
from flows.engine.assembler import Program
from flows.engine.cpu_flow import aligned
from flows.engine.lowering import parameter_program
from flows.engine.machine import floors, machine
from flows.engine.panel import tile_rows
from flows.engine.plan import Affine, Linear, Plan, Spline
from flows.engine.torch_flow import TorchFlow
from flows.noise import row_normals
from flows.spline import spline_inverse
from flows.warm import compiled_first

__all__ = [
    "MOST_SAMPLES",
    "ContextFlow",
    "invert_on_device",
    "need_one_feature",
    "repeated_normals",
]

MOST_SAMPLES = 4 << 16
"""Samples that one row of noise has words for."""

Array = NDArray[Any]
Offsets = NDArray[np.int64]


class ContextFlow:
    """Noise to data of a flow of one feature, on the processor, in the calling thread.

    A sample's bits depend on its context and its noise alone. Flush denormals in the calling
    thread (``torch.set_flush_denormal``).

    Attribute ``rows``: contexts of a tile, which are computed together; the last tile is padded.

    Arguments:
        plan: What to compute; its weights are copied.
        dtype: What the networks compute with, float32 or float64; splines take float64.
    Raises: ValueError unless the plan has one feature.
    """

    def __init__(self, plan: Plan, dtype: Any) -> None:
        need_one_feature(plan)
        self.plan, self.dtype = plan, np.dtype(dtype)
        self.rows = tile_rows(self.dtype.itemsize)
        self._floors = floors(self.dtype)
        self._programs: list[tuple[Program, int]] = []
        kinds: list[tuple[int, int, int]] = []
        constants = np.zeros((len(plan.steps), 6))
        at = 0
        for s, step in enumerate(reversed(plan.steps)):
            kind, bins, outputs, numbers = _described(step)
            kinds.append((kind, at, bins))
            constants[s, : len(numbers)] = numbers
            if isinstance(step, Spline | Affine):
                self._programs.append((parameter_program(step.made, plan, self.dtype), outputs))
            at += outputs
        self._steps = np.array(kinds, dtype=np.int64).reshape(-1, 3)
        self._constants = constants
        self._base = np.array([plan.base.loc[0], plan.base.scale[0]])
        self._machine = machine(self.dtype)
        none, words = np.zeros((0, plan.context), self.dtype), np.zeros((0, 3), np.int64)
        offsets = np.zeros(1, np.int64)
        compiled_first(self.invert, np.zeros(0), none, offsets)
        compiled_first(self.draw, none, offsets, words[:, :2], words)

    def parameters(self, context: Array) -> Array:
        """Outputs of all networks ``(n, P)`` at contexts ``(n, C)``."""
        given = self._pack(context)
        parts = [self._evaluate(p, o, given, len(context)) for p, o in self._programs]
        return np.concatenate([np.zeros((len(context), 0), self.dtype), *parts], axis=1)

    def invert(self, noise: Array, context: Array, offsets: Offsets) -> Array:
        """Map noise to data.

        Arguments:
            noise: All samples ``(N,)``, those of a context next to each other.
            context: ``(n, C)``.
            offsets: ``(n + 1,)``: samples ``offsets[i] − offsets[0]`` up to ``offsets[i + 1] −
                offsets[0]`` belong to context i.
        Returns: ``(N,)``, float64.
        """
        out = np.empty(int(offsets[-1] - offsets[0]))
        source = np.ascontiguousarray(noise, dtype=np.float64)
        parameters = self.parameters(context)
        repeated.invert(parameters, self._steps, self._constants, offsets, source, out)
        return out

    def draw(
        self, context: Array, offsets: Offsets, keys: Array, counters: Array, attempt: int = 0
    ) -> Array:
        """Draw samples from noise that is made on the way.

        Arguments:
            context: ``(n, C)``.
            offsets: See :meth:`invert`.
            keys: int64 ``(n, 2)`` of :meth:`flows.noise.Identity.keys`.
            counters: int64 ``(n, 3)`` of :meth:`flows.noise.Identity.counters`.
            attempt: Number of the try.
        Returns: ``(N,)``, float64; sample s of a context took dimension s of its row of noise.
        """
        out = np.empty(int(offsets[-1] - offsets[0]))
        repeated.draw(
            self.parameters(context),
            self._steps,
            self._constants,
            offsets,
            np.ascontiguousarray(keys, dtype=np.int64),
            np.ascontiguousarray(counters, dtype=np.int64),
            attempt,
            self._base,
            out,
        )
        return out

    def _evaluate(self, program: Program, outputs: int, given: Array, count: int) -> Array:
        state = aligned((len(given), outputs, self.rows), self.dtype)
        state[:] = 0
        height = program.memory(outputs, given.shape[1])
        space = aligned((height * self.rows,), self.dtype)
        self._machine(
            program.code, program.weights, state, given, space, program.places, self._floors
        )
        rows = state.transpose(0, 2, 1).reshape(-1, outputs)
        return np.ascontiguousarray(rows[:count])

    def _pack(self, context: Array) -> Array:
        count, columns = context.shape
        tiles = -(-count // self.rows)
        full = np.zeros((tiles * self.rows, columns), self.dtype)
        full[:count] = context
        packed = aligned((tiles, columns, self.rows), self.dtype)
        packed[:] = full.reshape(tiles, self.rows, columns).transpose(0, 2, 1)
        return packed


def need_one_feature(plan: Plan) -> None:
    """Refuse a plan whose networks may see features.

    Raises: ValueError unless it has one feature.
    """
    if plan.features != 1:
        msg = (
            f"the flow has {plan.features} features: from the second on, parameters depend on the "
            f"features before, so samples of one context cannot share them; use inverse or sample"
        )
        raise ValueError(msg)


def repeated_normals(keys: Tensor, counters: Tensor, counts: Tensor, attempt: int = 0) -> Tensor:
    """Noise of all samples ``(sum of counts,)``, made where the tensors are.

    Arguments:
        keys: int64 ``(n, 2)``.
        counters: int64 ``(n, 3)``.
        counts: int64 ``(n,)``, samples of every row.
        attempt: Number of the try.
    """
    wide = int(counts.max()) if len(counts) else 0
    normal = row_normals(keys, counters, wide, torch.full_like(counts, attempt))
    chosen: Tensor = normal[torch.arange(wide, device=counts.device) < counts[:, None]]
    return chosen


@torch.no_grad()
def invert_on_device(flow: TorchFlow, noise: Tensor, context: Tensor, counts: Tensor) -> Tensor:
    """Map noise ``(N,)`` of contexts ``(n, C)`` with ``counts`` ``(n,)`` to data, in plain torch.

    Raises: ValueError unless the plan has one feature.
    """
    need_one_feature(flow.plan)
    nothing = context.new_zeros(len(context), 1)
    given = flow.embed(context)
    z = noise
    for step in reversed(flow.plan.steps):
        if isinstance(step, Linear):
            z = (z - float(step.bias[0])) * float(step.inverse[0, 0])
            continue
        if not isinstance(step, Affine | Spline):
            raise _no_form(step)
        raw = flow.evaluate(step.made, nothing, given)
        shared = torch.repeat_interleave(raw, counts, dim=0)
        if isinstance(step, Affine):
            scale = torch.nn.functional.softplus(shared[:, 0]) + step.rule.least
            z = (z - shared[:, 1]) / scale.clamp(max=step.rule.most)
        else:
            z = spline_inverse(z, shared, step.bins, step.bound, step.limits)
    return z


def _described(step: Any) -> tuple[int, int, int, tuple[float, ...]]:
    """Kind, bins, parameters and constants of a step."""
    if isinstance(step, Linear):
        return repeated.LINEAR, 1, 0, (float(step.inverse[0, 0]), float(step.bias[0]))
    if isinstance(step, Affine):
        return repeated.AFFINE, 1, 2, (step.rule.least, step.rule.most)
    if isinstance(step, Spline):
        soft = -math.log(step.limits.slope) if step.limits.soft else 0.0
        numbers = (step.bound, *step.limits[:4], soft)
        return repeated.SPLINE, step.bins, 3 * step.bins - 1, numbers
    raise _no_form(step)


def _no_form(step: Any) -> ValueError:
    return ValueError(f"a step {type(step).__name__} has no form for one feature")
