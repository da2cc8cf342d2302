"""The autoregressive inverse as one kernel: every hidden unit once, as soon as it can be known.

A program owns some rows. For one feature after the other it computes the units of that degree in
every layer, then the feature's parameters, then the feature, which the next degree sees. What units
came to stays in memory beside the rows, where later degrees read it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from flows.engine.layer_table import FIELDS, LayerTable
from flows.engine.plan import Affine, Spline
from flows.engine.torch_flow import needed
from flows.engine.triton_spline import power_of_two, softplus, spline_constants, spline_element
from flows.gpu import Value, constexpr, jit, place_of, tl

__all__ = ["MaskedInverse", "Precision"]

Precision = str
"""Of matrix products: ``ieee``, ``tf32x3`` or ``tf32``, as triton names them."""

ROWS, UNITS, KNOWN = 64, 16, 16
"""Rows of a program; units and inputs of one product. Tensor cores and their stand-ins want 16."""
BIN_TILE = 1024
"""Bins of a spline that a program holds at once, hence fewer rows where there are more bins."""
STAGES = 1
"""Inputs are not fetched ahead: that costs the registers of half the programs, and every input was
written by this very program a moment ago."""


@jit
def _invert(
    z: Value,
    space: Value,
    weights: Value,
    layers: Value,
    ends: Value,
    constants: Value,
    rows: Value,
    stride: Value,
    features: Value,
    count: Value,
    parameters: Value,
    SPLINE: constexpr,
    BINS: constexpr,
    PADDED: constexpr,
    SOFT: constexpr,
    FIELDS: constexpr,
    SIZE: constexpr,
    UNITS: constexpr,
    KNOWN: constexpr,
    PRECISION: constexpr,
) -> Value:
    """Fill the first ``features`` columns of ``space`` ``(rows, stride)`` from ``z``."""
    row = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    live = row < rows
    mine = space + row * stride
    for degree in range(features):
        for number in range(count):
            _layer(
                mine,
                live,
                weights,
                layers + number * FIELDS,
                ends,
                degree,
                SIZE,
                UNITS,
                KNOWN,
                PRECISION,
            )
            tl.debug_barrier()
        value = tl.load(z + row * features + degree, live, 0.0)
        if SPLINE:
            x, _ = spline_element(
                value, mine + parameters, live, constants, BINS, PADDED, SOFT, True
            )
        else:
            least, most = tl.load(constants), tl.load(constants + 1)
            raw = tl.load(mine + parameters, live, 0.0)
            shift = tl.load(mine + parameters + 1, live, 0.0)
            scale = softplus(raw) + least
            x = (value - shift) / tl.where(scale > most, most, scale)
        tl.store(mine + degree, x, live)
        tl.debug_barrier()


@jit
def _layer(
    mine: Value,
    live: Value,
    weights: Value,
    line: Value,
    ends: Value,
    degree: Value,
    SIZE: constexpr,
    UNITS: constexpr,
    KNOWN: constexpr,
    PRECISION: constexpr,
) -> Value:
    """Compute the units of one degree of one layer; ``line`` is a row of :class:`LayerTable`."""
    weight, width, bias = tl.load(line), tl.load(line + 1), tl.load(line + 2)
    source, target, mode = tl.load(line + 3), tl.load(line + 4), tl.load(line + 7)
    gate, active, scale, shift = (
        tl.load(line + 8),
        tl.load(line + 9),
        tl.load(line + 10),
        tl.load(line + 11),
    )
    known = tl.load(ends + tl.load(line + 5) + degree + 1)
    after = tl.load(line + 6)
    start, stop = tl.load(ends + after + degree), tl.load(ends + after + degree + 1)
    shifted = target
    if mode & 4:
        shifted = target - start
    for first in range(start, stop, UNITS):
        unit = first + tl.arange(0, UNITS)
        real = unit < stop
        both = live[:, None] & real[None, :]
        total = tl.zeros([SIZE, UNITS], dtype=weights.dtype.element_ty)
        total += tl.load(weights + bias + unit, real, 0.0)[None, :]
        for begin in range(0, known, KNOWN):
            column = begin + tl.arange(0, KNOWN)
            seen = column < known
            a = tl.load(
                mine[:, None] + source + column[None, :], live[:, None] & seen[None, :], 0.0
            )
            w = tl.load(
                weights + weight + unit[None, :] * width + column[:, None],
                real[None, :] & seen[:, None],
                0.0,
            )
            total = tl.dot(a, w, total, input_precision=PRECISION, out_dtype=total.dtype)
        if gate >= 0:
            total *= tl.load(mine[:, None] + gate + unit[None, :], both, 0.0)
        place = mine[:, None] + shifted + unit[None, :]
        if mode & 1:
            total += tl.load(place, both, 0.0)
        if mode & 2:
            total = _rectified(total)
        tl.store(place, total, both)
        if active >= 0:
            factor = tl.load(weights + scale + unit, real, 0.0)[None, :]
            offset = tl.load(weights + shift + unit, real, 0.0)[None, :]
            a = total * factor + offset
            if (mode & 8) == 0:
                a = _rectified(a)
            tl.store(mine[:, None] + active + unit[None, :], a, both)


@jit
def _rectified(x: Value) -> Value:
    """Relu that keeps NaN."""
    return tl.where(x < 0.0, 0.0, x)


class MaskedInverse:
    """Noise to data of one autoregressive step.

    Arguments:
        step: What to compute; its weights are copied.
        features: D.
        dtype: float32 or float64.
        device: Where kernels run.
    """

    def __init__(
        self, step: Affine | Spline, features: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        table = LayerTable(step.made, features)
        self.step, self.features = step, features
        self._presets, self._columns, self._parameters = (
            table.presets,
            table.columns,
            table.parameters,
        )
        self._count = len(table.lines)
        self._weights = torch.from_numpy(np.concatenate(table.weights)).to(device, dtype)
        self._layers = torch.tensor(table.lines, dtype=torch.int32, device=device)
        ends = np.concatenate(table.ends).astype(np.int32)
        self._ends = torch.from_numpy(ends).to(device)
        rule = (
            [step.rule.least, step.rule.most]
            if isinstance(step, Affine)
            else spline_constants(step)
        )
        self._constants = torch.tensor(rule, dtype=dtype, device=device)
        self._dense = [
            (
                p.start,
                p.kind,
                torch.from_numpy(p.dense.weight).to(device, dtype),
                torch.from_numpy(p.dense.bias).to(device, dtype),
            )
            for p in table.presets
        ]

    def __call__(self, z: Tensor, given: Tensor | None, precision: Precision = "ieee") -> Tensor:
        """Map noise ``(n, D)`` with digested context ``(n, C)`` to data ``(n, D)``."""
        space = z.new_empty(len(z), self._columns)
        for start, kind, weight, bias in self._dense:
            made = torch.nn.functional.linear(needed(given), weight, bias)
            if kind == "rectified":
                made = torch.relu(made)
            elif kind == "sigmoid":
                made = torch.sigmoid(made)
            space[:, start : start + made.shape[1]] = made
        spline, bins, soft = False, 1, False
        if isinstance(self.step, Spline):
            spline, bins, soft = True, self.step.bins, self.step.limits.soft
        size = min(ROWS, max(16, BIN_TILE // power_of_two(bins)))
        if len(z):
            with place_of(space):
                _invert[(-(-len(z) // size),)](
                    z.contiguous(),
                    space,
                    self._weights,
                    self._layers,
                    self._ends,
                    self._constants,
                    len(z),
                    self._columns,
                    self.features,
                    self._count,
                    self._parameters,
                    SPLINE=spline,
                    BINS=bins,
                    PADDED=power_of_two(bins),
                    SOFT=soft,
                    FIELDS=FIELDS,
                    SIZE=size,
                    UNITS=UNITS,
                    KNOWN=KNOWN,
                    PRECISION=precision,
                    num_stages=STAGES,
                )
        return space[:, : self.features].contiguous()
