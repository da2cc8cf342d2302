"""A plan compiled for the processor, both ways; one thread, callable from many at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.engine.assembler import Program
from flows.engine.lowering import embedding_program, forward_programs, inverse_programs
from flows.engine.machine import floors, machine
from flows.engine.panel import tile_rows
from flows.engine.plan import Linear, Plan

__all__ = ["CpuFlow"]

ALIGNMENT = 64
"""Bytes of a cache line: a register that straddles two costs two reads."""

Array = NDArray[Any]
Way = Callable[[Plan, Any], tuple[Program, ...]]


class CpuFlow:
    """Noise to data, and data to noise, for one floating type.

    A row's result is the same bit for bit, whatever rows are computed with it. The weights of each
    way are laid out when it is first used. Flush denormals in
    the calling thread (``torch.set_flush_denormal``): they slow everything down.

    Arguments:
        plan: What to compute; its weights are copied.
        dtype: float32 or float64.
    """

    def __init__(self, plan: Plan, dtype: Any) -> None:
        self.plan, self.dtype = plan, np.dtype(dtype)
        self._rows = tile_rows(self.dtype.itemsize)
        self._log_det = sum(step.log_det for step in plan.steps if isinstance(step, Linear))
        self._lock = threading.Lock()
        self._programs: dict[Way, tuple[Program, ...]] = {}
        self._embedding = embedding_program(plan, self.dtype) if plan.embedding else None
        self._floors = floors(self.dtype)
        self._machine = machine(self.dtype)

    def inverse(self, z: Array, context: Array) -> Array:
        """Map noise ``(n, D)`` with context ``(n, C)`` to data ``(n, D)``; C may be 0.

        Raises: ValueError for other shapes.
        """
        self._fit(z, context)
        return self._unpack(self._apply(inverse_programs, self._pack(z), context), len(z))

    def forward(self, x: Array, context: Array) -> tuple[Array, Array]:
        """Map data to noise; also ln \\|det ∂z/∂x\\| ``(n,)``.

        Raises: ValueError for other shapes.
        """
        self._fit(x, context)
        behind = np.full((len(x), 1), self._log_det, self.dtype)
        state = self._pack(np.concatenate([x, behind], 1))
        both = self._unpack(self._apply(forward_programs, state, context), len(x))
        return np.ascontiguousarray(both[:, :-1]), both[:, -1].copy()

    def _fit(self, rows: Array, context: Array) -> None:
        """Refuse shapes that compiled loops, which look at no bounds, would run past."""
        expected = (len(rows), self.plan.features), (len(rows), self.plan.context)
        if rows.shape != expected[0] or context.shape != expected[1]:
            msg = (
                f"features have shape {rows.shape} and context {context.shape}, the flow takes "
                f"{expected[0]} and {expected[1]}; give one row of both per sample"
            )
            raise ValueError(msg)

    def _apply(self, way: Way, state: Array, context: Array) -> Array:
        given = self._pack(context)
        if self._embedding is not None:
            wide = max(self.plan.context, self.plan.embedded)
            given = self._embed(given, self._embedding, wide)
        for program in self._written(way):
            self._run(program, state, given)
        return state

    def _written(self, way: Way) -> tuple[Program, ...]:
        with self._lock:
            if way not in self._programs:
                self._programs[way] = way(self.plan, self.dtype)
            return self._programs[way]

    def _embed(self, given: Array, program: Program, wide: int) -> Array:
        state = aligned((len(given), wide, self._rows), self.dtype)
        state[:, : given.shape[1]] = given
        state[:, given.shape[1] :] = 0
        none = aligned((len(given), 0, self._rows), self.dtype)
        self._run(program, state, none)
        return np.ascontiguousarray(state[:, : self.plan.embedded])

    def _run(self, program: Program, state: Array, given: Array) -> None:
        rows = program.memory(state.shape[1], given.shape[1])
        space = aligned((rows * self._rows,), self.dtype)
        self._machine(
            program.code, program.weights, state, given, space, program.places, self._floors
        )

    def _pack(self, rows: Array) -> Array:
        """Tiles ``(tiles, columns, rows of a tile)``, the last one filled up with zeros."""
        count, columns = rows.shape
        tiles = -(-count // self._rows)
        full = np.zeros((tiles * self._rows, columns), self.dtype)
        full[:count] = rows
        packed = aligned((tiles, columns, self._rows), self.dtype)
        packed[:] = full.reshape(tiles, self._rows, columns).transpose(0, 2, 1)
        return packed

    def _unpack(self, packed: Array, count: int) -> Array:
        rows = packed.transpose(0, 2, 1).reshape(-1, packed.shape[1])
        return np.ascontiguousarray(rows[:count])


def aligned(shape: tuple[int, ...], dtype: Any) -> Array:
    """Uninitialised array that begins at a cache line."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    array: Array = raw[start : start + size].view(dtype).reshape(shape)
    return array
