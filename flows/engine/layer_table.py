"""A masked network as a table of layers, in the order in which every degree passes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.engine.plan import Dense, Feedforward, Made, Residual

__all__ = ["FIELDS", "LayerTable", "Preset"]

FIELDS = 12
"""Columns of the table."""
RESUMES, RECTIFIES, LAST, PLAIN = 1, 2, 4, 8
"""Bits of the mode: add what is in the target already, a relu, the target holds one feature's, what
is activated passes no relu."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Preset:
    """Columns that torch fills before the kernel runs, from the context."""

    start: int
    dense: Dense
    kind: str


class LayerTable:
    """Layers of a network in the order in which a degree passes them; their weights in a row.

    Columns of the table: weights at, inputs of a unit, bias at, source column, target column, known
    inputs by degree at, units by degree at, mode, gate column, activated column, its scale at, its
    shift at; −1 where there is none.
    """

    def __init__(self, made: Made, features: int) -> None:
        self.features = features
        self.lines: list[list[int]] = []
        self.weights: list[Array] = []
        self.ends: list[NDArray[np.int64]] = []
        self.presets: list[Preset] = []
        self.packed = self.counted = 0
        self.columns = features
        self._write(made)

    def _write(self, made: Made) -> None:
        features = self.features
        units = _ends(made.degrees, features)
        before = self._count(np.arange(-1, features))
        ends = self._count(units)
        hidden = self._take(len(made.degrees))
        mode = RECTIFIES if made.rectified else 0
        if made.context is not None:
            mode |= RESUMES
            kind = "rectified" if made.context_rectified else "plain"
            self.presets.append(Preset(hidden, made.context, kind))
        first = self._line(made.first, (0, hidden), (before, ends), mode)
        stream = hidden
        for block in made.blocks:
            if isinstance(block, Feedforward):
                after = self._count(_ends(block.degrees, features))
                target = self._take(len(block.degrees))
                self._line(block.dense, (stream, target), (ends, after), RECTIFIES)
                stream, ends = target, after
            else:
                first = self._residual(block, stream, ends, first)
        outputs = len(made.final.bias) // features
        each = self._count(np.arange(features + 1) * outputs)
        self.parameters = self._take(outputs)
        self._line(made.final, (stream, self.parameters), (ends, each), LAST)

    def _residual(self, block: Residual, stream: int, ends: int, feeding: list[int]) -> list[int]:
        """Write a block; the layer ``feeding`` the stream also activates it for the block."""
        inside = self._count(_ends(block.degrees, self.features))
        activated = self._take(len(block.scale))
        inner = self._take(len(block.degrees))
        feeding[9:] = [activated, self._pack(block.scale), self._pack(block.shift)]
        feeding[7] |= 0 if block.rectified else PLAIN
        mode = RECTIFIES
        if block.context.shape[1]:
            mode |= RESUMES
            given = Dense(block.context, np.zeros(len(block.degrees)))
            self.presets.append(Preset(inner, given, "plain"))
        self._line(block.inner, (activated, inner), (ends, inside), mode)
        gate = -1
        if block.gate is not None:
            gate = self._take(len(block.gate.bias))
            self.presets.append(Preset(gate, block.gate, "sigmoid"))
        line = self._line(block.outer, (inner, stream), (inside, ends), RESUMES)
        line[8] = gate
        return line

    def _line(
        self, dense: Dense, columns: tuple[int, int], ends: tuple[int, int], mode: int
    ) -> list[int]:
        at = self._pack(dense.weight), dense.weight.shape[1], self._pack(dense.bias)
        self.lines.append([*at, *columns, *ends, mode, -1, -1, 0, 0])
        return self.lines[-1]

    def _pack(self, array: Array) -> int:
        start = self.packed
        self.weights.append(array.ravel())
        self.packed += array.size
        return start

    def _count(self, ends: NDArray[np.int64]) -> int:
        start = self.counted
        self.ends.append(ends)
        self.counted += len(ends)
        return start

    def _take(self, columns: int) -> int:
        start = self.columns
        self.columns += columns
        return start


def _ends(degrees: NDArray[np.int64], features: int) -> NDArray[np.int64]:
    """Units below every degree from 0 to D."""
    return np.searchsorted(degrees, np.arange(features + 1))
