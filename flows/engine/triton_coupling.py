"""Spline couplings on CUDA: matrix products by the library, everything between them in one kernel.

Widths are padded with zeros to multiples of what the library's fast products want; a padded unit
stays zero all the way.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flows.engine.plan import Coupling, Dense, Gated
from flows.engine.torch_flow import needed
from flows.engine.triton_spline import (
    exponential,
    power_of_two,
    spline_constants,
    spline_of_columns,
)
from flows.gpu import Value, constexpr, jit, place_of, tl

__all__ = ["TritonCoupling"]

Array = NDArray[np.float64]
MULTIPLE = 8
"""Numbers in a row that products read at once: 32 bytes of float32."""
ROWS, UNITS, LEAST_CONTEXT = 32, 64, 16
"""Rows and units of one program; least width of a product."""


@jit
def _join(
    stream: Value,
    added: Value,
    given: Value,
    gate: Value,
    bias: Value,
    scale: Value,
    shift: Value,
    active: Value,
    rows: Value,
    units: Value,
    context: Value,
    GATED: constexpr,
    ACTIVATES: constexpr,
    WIDE: constexpr,
    ROWS: constexpr,
    UNITS: constexpr,
) -> Value:
    """Add ``added · σ(gate · given + bias)`` to ``stream``, whose scaled relu is ``active``."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    unit = tl.program_id(1) * UNITS + tl.arange(0, UNITS)
    real = unit < units
    both = (row < rows)[:, None] & real[None, :]
    place = row[:, None] * units + unit[None, :]
    value = tl.load(added + place, both, 0.0)
    if GATED:
        column = tl.arange(0, WIDE)
        known = column < context
        c = tl.load(
            given + row[:, None] * context + column[None, :],
            (row < rows)[:, None] & known[None, :],
            0.0,
        )
        w = tl.load(
            gate + unit[None, :] * context + column[:, None], known[:, None] & real[None, :], 0.0
        )
        total = tl.zeros([ROWS, UNITS], dtype=stream.dtype.element_ty)
        total += tl.load(bias + unit, real, 0.0)[None, :]
        total = tl.dot(c, w, total, input_precision="ieee", out_dtype=total.dtype)
        value = value / (1.0 + exponential(-total))
    value += tl.load(stream + place, both, 0.0)
    tl.store(stream + place, value, both)
    if ACTIVATES:
        value *= tl.load(scale + unit, real, 0.0)[None, :]
        value += tl.load(shift + unit, real, 0.0)[None, :]
        tl.store(active + place, tl.where(value < 0.0, 0.0, value), both)


class _Layer(NamedTuple):
    """``x · weight + bias``."""

    weight: Tensor
    bias: Tensor


class _Block(NamedTuple):
    scale: Tensor
    shift: Tensor
    inner: _Layer
    outer: _Layer
    gate: tuple[Tensor, Tensor] | None


class TritonCoupling:
    """A coupling, both ways.

    Arguments:
        step: What to compute; its weights are copied.
        dtype: float32 or float64.
        device: Where kernels run.
    """

    def __init__(self, step: Coupling, dtype: torch.dtype, device: torch.device) -> None:
        self.step, self._kind, self._device = step, dtype, device
        self._kept, self._moved = (torch.from_numpy(i).to(device) for i in (step.kept, step.moved))
        net = step.net
        hidden = len(net.first.bias)
        self._inputs = net.first.weight.shape[1]
        self._units = _padded(hidden)
        self._each = _padded(3 * step.bins - 1)
        self._first = self._layer(net.first, self._units, _padded(self._inputs))
        self._blocks = [self._block(block) for block in net.blocks]
        moved = len(step.moved)
        weight = net.final.weight.reshape(moved, -1, hidden)
        bias = net.final.bias.reshape(moved, -1)
        more = self._each - weight.shape[1]
        final = Dense(
            np.pad(weight, ((0, 0), (0, more), (0, 0))).reshape(-1, hidden),
            np.pad(bias, ((0, 0), (0, more))).ravel(),
        )
        self._final = self._layer(final, len(final.bias), self._units)
        self._constants = self._tensor(np.array(spline_constants(step)))

    def __call__(self, state: Tensor, given: Tensor | None, *, inverse: bool) -> Tensor:
        """Transform ``state`` ``(n, D)`` in place; return log-slopes ``(n, M)``, forward alone."""
        raw = self._parameters(state, given).view(len(state), len(self._moved), self._each)
        return spline_of_columns(
            state, raw, self._moved, self._constants, self.step, inverse=inverse
        )

    def _parameters(self, state: Tensor, given: Tensor | None) -> Tensor:
        rows, width = len(state), self._first.weight.shape[0]
        seen = state.new_zeros(rows, width)
        kept = len(self._kept)
        seen[:, :kept] = state.index_select(1, self._kept)
        if self._inputs > kept:
            seen[:, kept : self._inputs] = needed(given)
        stream = torch.addmm(self._first.bias, seen, self._first.weight)
        active = torch.empty_like(stream)
        if self._blocks:
            first = self._blocks[0]
            active = torch.relu_(torch.addcmul(first.shift, stream, first.scale))
        for number, block in enumerate(self._blocks):
            # private, but the one way to a relu inside the library's product
            inside = torch._addmm_activation(block.inner.bias, active, block.inner.weight)
            added = torch.addmm(block.outer.bias, inside, block.outer.weight)
            later = self._blocks[number + 1] if number + 1 < len(self._blocks) else None
            self._joined(stream, added, given, block, later, active)
        return torch.addmm(self._final.bias, stream, self._final.weight)

    def _joined(
        self,
        stream: Tensor,
        added: Tensor,
        given: Tensor | None,
        block: _Block,
        later: _Block | None,
        active: Tensor,
    ) -> None:
        rows, units = stream.shape
        gated = block.gate is not None and given is not None
        gate, bias = block.gate if block.gate is not None else (added, added)
        context = 0 if given is None else given.shape[1]
        wide = max(LEAST_CONTEXT, power_of_two(context))
        known = later if later is not None else block
        if rows:
            with place_of(stream):
                _join[(-(-rows // ROWS), -(-units // UNITS))](
                    stream,
                    added,
                    added if given is None else given.contiguous(),
                    gate,
                    bias,
                    known.scale,
                    known.shift,
                    active,
                    rows,
                    units,
                    context,
                    GATED=gated,
                    ACTIVATES=later is not None,
                    WIDE=wide,
                    ROWS=ROWS,
                    UNITS=UNITS,
                )

    def _block(self, block: Gated) -> _Block:
        units = self._units
        gate = None
        if block.gate is not None:
            weight = _grown(block.gate.weight, units, block.gate.weight.shape[1])
            gate = self._tensor(weight), self._numbers(block.gate.bias, units)
        return _Block(
            self._numbers(block.scale, units),
            self._numbers(block.shift, units),
            self._layer(block.inner, units, units),
            self._layer(block.outer, units, units),
            gate,
        )

    def _layer(self, dense: Dense, outputs: int, inputs: int) -> _Layer:
        """Pad a layer, its weight ``(inputs, outputs)``, contiguous the other way round."""
        weight = self._tensor(_grown(dense.weight, outputs, inputs))
        return _Layer(weight.T, self._numbers(dense.bias, outputs))

    def _numbers(self, array: Array, count: int) -> Tensor:
        return self._tensor(np.pad(array, (0, count - len(array))))

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device, self._kind)


def _padded(width: int) -> int:
    return -(-width // MULTIPLE) * MULTIPLE


def _grown(array: Array, rows: int, columns: int) -> Array:
    """Put zeros behind both axes."""
    return np.pad(array, ((0, rows - array.shape[0]), (0, columns - array.shape[1])))
