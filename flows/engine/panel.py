"""Product of a narrow block of weights with a tile of rows, all sums kept in registers."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from flows.engine.lanes import REGISTERS, call_vector, lanes_of, place, splat, vector_type

__all__ = ["VECTORS", "WIDEST", "panel", "tile_rows"]

VECTORS = 4 if REGISTERS == 32 else 2
"""Registers side by side in a tile: enough chains of sums to hide the latency of one."""
WIDEST = 6
"""Units of a block: with their sums, a row of the tile and a weight most registers are taken, be
it 6 · 4 + 4 + 1 of 32 or 6 · 2 + 2 + 1 of 16."""


def tile_rows(itemsize: int) -> int:
    """Rows of a tile of numbers of ``itemsize`` bytes."""
    return VECTORS * lanes_of(itemsize)


def _emit(units: int, builder: Any, vector: Any, at: Any, n: Any, start: Any, floor: Any) -> None:
    """Sum ``weights[k, u] · source[k]`` over k into ``units`` rows of the tile."""
    weights, source, target = at
    whole = ir.IntType(64)
    rows = VECTORS * vector.count
    size = 4 if isinstance(vector.element, ir.FloatType) else 8

    def number(value: int) -> Any:
        return ir.Constant(whole, value)

    def address(base: Any, offset: Any, v: int) -> Any:
        shifted = builder.gep(base, [builder.add(offset, number(v * vector.count))])
        return builder.bitcast(shifted, vector.as_pointer())

    def read(base: Any, offset: Any, v: int) -> Any:
        return builder.load(address(base, offset, v), align=size)

    def weight(offset: Any) -> Any:
        return splat(builder, builder.load(builder.gep(weights, [offset])), vector)

    cells = [(u, v) for u in range(units) for v in range(VECTORS)]
    with builder.if_else(start) as (resume, begin):
        with resume:
            kept = [read(target, number(u * rows), v) for u, v in cells]
            kept_block = builder.block
        with begin:
            biases = [weight(number(u)) for u in range(units)]
            bias_block = builder.block
    sums = []
    for (u, _), value in zip(cells, kept):
        phi = builder.phi(vector)
        phi.add_incoming(value, kept_block)
        phi.add_incoming(biases[u], bias_block)
        sums.append(phi)

    before = builder.block
    body, after = (builder.append_basic_block(name) for name in ("panel", "panel.end"))
    builder.cbranch(builder.icmp_signed(">", n, number(0)), body, after)
    builder.position_at_end(body)
    k = builder.phi(whole)
    k.add_incoming(number(0), before)
    running = [builder.phi(vector) for _ in cells]
    for phi, value in zip(running, sums):
        phi.add_incoming(value, before)
    row = builder.mul(k, number(rows))
    inputs = [read(source, row, v) for v in range(VECTORS)]
    base = builder.add(builder.mul(k, number(units)), number(units))
    added: list[Any] = []
    for u in range(units):
        factor = weight(builder.add(base, number(u)))
        for v in range(VECTORS):
            chain = running[len(added)]
            added.append(call_vector(builder, "fmuladd", vector, factor, inputs[v], chain))
    following = builder.add(k, number(1))
    k.add_incoming(following, body)
    for phi, value in zip(running, added):
        phi.add_incoming(value, body)
    builder.cbranch(builder.icmp_signed("<", following, n), body, after)

    builder.position_at_end(after)
    totals = [builder.phi(vector) for _ in cells]
    for total, first, last in zip(totals, sums, added):
        total.add_incoming(first, before)
        total.add_incoming(last, body)
    bottom = splat(builder, floor, vector)
    for (u, v), total in zip(cells, totals):
        cut = builder.select(builder.fcmp_ordered("<", total, bottom), bottom, total)
        builder.store(cut, address(target, number(u * rows), v), align=size)


@intrinsic  # type: ignore[untyped-decorator]
def panel(
    _: Any,
    weights: Any,
    at: Any,
    space: Any,
    source: Any,
    n: Any,
    target: Any,
    units: Any,
    resume: Any,
    floor: Any,
) -> Any:
    """Add a block of weights times ``n`` rows of the tile to ``units`` rows of it.

    Arguments:
        weights: Flat; from ``at``: ``units`` biases, then ``n`` rows of ``units`` weights.
        space: Flat tile memory; row i begins at ``i · tile_rows``.
        source: Where the first of the ``n`` rows begins.
        target: Where the first of the ``units`` rows begins.
        units: At most :data:`WIDEST`.
        resume: Go on from what the target holds instead of from the biases.
        floor: Results below are raised to it: 0 rectifies, −inf changes nothing; NaN stays.
    """
    vector = vector_type(space.dtype)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kinds = signature.args
        pack = builder.bitcast(
            place(context, builder, kinds[0], values[0], values[1]), vector.element.as_pointer()
        )
        start, end = (
            builder.bitcast(
                place(context, builder, kinds[2], values[2], values[p]),
                vector.element.as_pointer(),
            )
            for p in (3, 5)
        )
        n, units, resume, floor = values[4], values[6], values[7], values[8]
        done = builder.append_basic_block("panel.done")
        choice = builder.switch(units, done)
        for width in range(1, WIDEST + 1):
            block = builder.append_basic_block(f"units.{width}")
            choice.add_case(ir.Constant(units.type, width), block)
            builder.position_at_end(block)
            _emit(width, builder, vector, (pack, start, end), n, resume, floor)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    i = types.int64
    return types.void(weights, i, space, i, i, i, i, types.boolean, space.dtype), emit
