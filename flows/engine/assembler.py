"""Programs for the machine: rows of the tile's memory are handed out, weights packed in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.engine.machine import Op
from flows.engine.panel import WIDEST, tile_rows

__all__ = ["Assembler", "Program", "Rows"]

OPERANDS = 8


class Rows(NamedTuple):
    """Consecutive rows of the tile's memory."""

    start: int
    size: int


@dataclass(frozen=True)
class Program:
    """Instructions with their weights.

    Attributes:
        code: int64 ``(instructions, 8)``.
        weights: Flat, of the type it computes with.
        places: First rows of the state that enters, the state that leaves, the context, and ones.
        rows: Rows of the tile's memory.
    """

    code: NDArray[np.int64]
    weights: NDArray[Any]
    places: tuple[int, int, int, int]
    rows: int

    def memory(self, state: int, context: int) -> int:
        """Rows of memory for a tile whose state and context have that many.

        What enters or leaves may be wider than what is computed with.
        """
        enter, leave, given, _ = self.places
        return max(self.rows, enter + state, leave + state, given + context)


class Assembler:
    """Collects instructions.

    Arguments:
        dtype: float32 or float64.
    """

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self._tile = tile_rows(self.dtype.itemsize)
        self._code: list[list[int]] = []
        self._weights: list[NDArray[Any]] = []
        self._packed = 0
        self._rows = 0

    def allocate(self, count: int) -> Rows:
        """Hand out rows."""
        start = self._rows
        self._rows += count
        return Rows(start, count)

    def panel(
        self,
        weight: NDArray[Any],
        source: int,
        target: int,
        *,
        bias: NDArray[Any] | None = None,
        rectify: bool = False,
    ) -> None:
        """Rows ``target`` = weight ``(out, in)`` · rows ``source`` + bias, or + what they hold.

        Blocks are as equal as can be: a narrow rest would wait for its few sums.
        """
        outputs, inputs = weight.shape
        if not outputs or not (inputs or bias is not None or rectify):
            return
        for block in np.array_split(np.arange(outputs), -(-outputs // WIDEST)):
            first = int(block[0])
            head = np.zeros(len(block)) if bias is None else bias[block]
            at = self._pack(head, weight[block].T)
            self._emit(
                Op.PANEL,
                at,
                self._address(source),
                inputs,
                self._address(target + first),
                len(block),
                int(bias is None),
                int(rectify),
            )

    def rectify(self, source: int, target: int, scale: NDArray[Any], shift: NDArray[Any]) -> None:
        """Rows ``target`` = max(scale · rows ``source`` + shift, 0)."""
        at = self._pack(np.stack([scale, shift], 1))
        self._emit(Op.RECTIFY, at, self._address(source), len(scale), self._address(target))

    def add(self, source: int, count: int, target: int) -> None:
        """Add rows ``source`` to rows ``target``."""
        self._emit(Op.ADD, 0, self._address(source), count, self._address(target))

    def copy(self, source: int, target: int) -> None:
        """Row ``target`` = row ``source``; that of rows to rows would mix zeros with infinities."""
        self.panel(np.ones((1, 1)), source, target, bias=np.zeros(1))

    def gate(self, source: int, gates: int, count: int, target: int) -> None:
        """Add rows ``source`` times σ(rows ``gates``) to rows ``target``."""
        self._emit(Op.GATE, *map(self._address, (gates, source)), count, self._address(target))

    def silu(self, source: int, count: int, target: int) -> None:
        """Rows ``target`` = SiLU of rows ``source``."""
        self._emit(Op.SILU, 0, self._address(source), count, self._address(target))

    def affine_inverse(self, constants: int, z: int, parameters: int, x: int) -> None:
        """Invert one feature; ``constants`` from :meth:`constants`."""
        self._emit(Op.AFFINE_INVERSE, constants, *map(self._address, (z, parameters, x)))

    def affine_forward(self, constants: int, x: int, parameters: int, z: int, slopes: int) -> None:
        """Transform one feature and add its ln slope to the row ``slopes``."""
        rows = map(self._address, (x, parameters, z, slopes))
        self._emit(Op.AFFINE_FORWARD, constants, *rows)

    def spline_inverse(self, constants: int, z: int, parameters: int, x: int, bins: int) -> None:
        """Invert one feature; ``constants`` from :meth:`constants`."""
        rows = map(self._address, (z, parameters, x))
        self._emit(Op.SPLINE_INVERSE, constants, *rows, bins)

    def spline_forward(
        self, constants: int, x: int, parameters: int, z: int, bins: int, slopes: int
    ) -> None:
        """Transform one feature and add its ln slope to the row ``slopes``."""
        rows = map(self._address, (x, parameters, z))
        self._emit(Op.SPLINE_FORWARD, constants, *rows, bins, self._address(slopes))

    def constants(self, *values: float) -> int:
        """Pack numbers; return where they are."""
        return self._pack(np.array(values))

    def program(self, places: tuple[int, int, int, int]) -> Program:
        """Finish."""
        weights = np.concatenate([np.zeros(0, self.dtype), *self._weights])
        code = np.array(self._code, dtype=np.int64).reshape(-1, OPERANDS)
        return Program(code, weights, places, self._rows)

    def _pack(self, *arrays: NDArray[Any]) -> int:
        at = self._packed
        for array in arrays:
            self._weights.append(np.ascontiguousarray(array, dtype=self.dtype).ravel())
            self._packed += array.size
        return at

    def _address(self, row: int) -> int:
        return row * self._tile

    def _emit(self, op: Op, *operands: int) -> None:
        self._code.append([op, *operands, *([0] * (OPERANDS - 1 - len(operands)))])
