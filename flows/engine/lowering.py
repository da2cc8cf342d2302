"""From plans to programs: every step costs about one masked pass of its network, both ways."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from flows.engine.assembler import Assembler, Program, Rows
from flows.engine.masked_network import MaskedNetwork
from flows.engine.plan import Affine, Coupling, Linear, Made, Plan, ResidualNet, Spline, Step

__all__ = ["embedding_program", "forward_programs", "inverse_programs", "parameter_program"]


Use = Callable[[int, int, int], None]
"""Transforms one feature: (row of the value, first row of its parameters, row of the result)."""


def inverse_programs(plan: Plan, dtype: Any) -> tuple[Program, ...]:
    """Write one program per step, in the order of the inverse; the state is D rows."""
    return tuple(_program(step, plan, dtype, forward=False) for step in reversed(plan.steps))


def forward_programs(plan: Plan, dtype: Any) -> tuple[Program, ...]:
    """Write one program per step; behind the state's D rows stands a sum of ln slopes."""
    return tuple(_program(step, plan, dtype, forward=True) for step in plan.steps)


def embedding_program(plan: Plan, dtype: Any) -> Program:
    """Write the network that digests the context."""
    code = Assembler(dtype)
    ones, given = code.allocate(1), code.allocate(plan.context)
    rows = _embedded(code, plan, given)
    return code.program((given.start, rows.start, given.start, ones.start))


def parameter_program(made: Made, plan: Plan, dtype: Any) -> Program:
    """Write the network of a flow of one feature, embedding included: context in, outputs out."""
    code = Assembler(dtype)
    enter = code.allocate(len(made.final.bias))
    ones, _ = code.allocate(1), code.allocate(1)
    given = code.allocate(plan.context)
    network = MaskedNetwork(code, made, 1, ones.start, _embedded(code, plan, given))
    leave: list[int] = []
    network.run(lambda _, parameters: leave.append(parameters))
    return code.program((enter.start, leave[0], given.start, ones.start))


def _embedded(code: Assembler, plan: Plan, given: Rows) -> Rows:
    rows = given
    for layer in plan.embedding:
        made = code.allocate(len(layer.bias))
        code.panel(layer.weight, rows.start, made.start, bias=layer.bias)
        code.silu(made.start, made.size, made.start)
        rows = made
    return rows


def _program(step: Step, plan: Plan, dtype: Any, *, forward: bool) -> Program:
    code = Assembler(dtype)
    if isinstance(step, Coupling):
        return _coupling(code, step, plan, forward=forward)
    width = plan.features + forward
    if forward:
        ones, source, target = code.allocate(1), code.allocate(width), code.allocate(width)
        slopes: int | None = target.start + plan.features
        code.copy(source.start + plan.features, target.start + plan.features)
    else:
        source, ones, target = code.allocate(width), code.allocate(1), code.allocate(width)
        slopes = None
    given = code.allocate(plan.embedded)
    if isinstance(step, Linear):
        matrix, bias = step.matrix, step.bias
        if not forward:
            matrix, bias = step.inverse, -step.inverse @ step.bias
        code.panel(matrix, source.start, target.start, bias=bias)
    else:
        network = MaskedNetwork(code, step.made, plan.features, ones.start, given)
        use = (
            _affine(code, step, slopes) if isinstance(step, Affine) else _spline(code, step, slopes)
        )
        network.run(lambda d, p: use(source.start + d, p, target.start + d))
    return code.program((source.start, target.start, given.start, ones.start))


def _coupling(code: Assembler, step: Coupling, plan: Plan, *, forward: bool) -> Program:
    ones, state = code.allocate(1), code.allocate(plan.features + forward)
    seen, given = code.allocate(len(step.kept)), code.allocate(plan.embedded)
    for row, feature in zip(range(seen.start, given.start), step.kept):
        code.copy(state.start + int(feature), row)
    stream = _residual(code, step.net, seen, given)
    parameters = code.allocate(3 * step.bins - 1)
    use = _spline(code, step, state.start + plan.features if forward else None)
    final = step.net.final
    for m, feature in enumerate(step.moved):
        rows = slice(m * parameters.size, (m + 1) * parameters.size)
        code.panel(final.weight[rows], stream, parameters.start, bias=final.bias[rows])
        use(state.start + int(feature), parameters.start, state.start + int(feature))
    return code.program((state.start, state.start, given.start, ones.start))


def _residual(code: Assembler, net: ResidualNet, seen: Rows, given: Rows) -> int:
    """Write a network up to its final layer; ``given`` follows ``seen`` in memory."""
    width = len(net.first.bias)
    stream, a, b, gate = (code.allocate(width).start for _ in range(4))
    code.panel(net.first.weight, seen.start, stream, bias=net.first.bias)
    for block in net.blocks:
        code.rectify(stream, a, block.scale, block.shift)
        code.panel(block.inner.weight, a, b, bias=block.inner.bias, rectify=True)
        code.panel(block.outer.weight, b, a, bias=block.outer.bias)
        if block.gate is None:
            code.add(a, width, stream)
        else:
            code.panel(block.gate.weight, given.start, gate, bias=block.gate.bias)
            code.gate(a, gate, width, stream)
    return stream


def _affine(code: Assembler, step: Affine, slopes: int | None) -> Use:
    rule = step.rule
    constants = code.constants(rule.least, rule.most, rule.shift_bound)
    if slopes is None:
        return lambda z, p, x: code.affine_inverse(constants, z, p, x)
    return lambda x, p, z: code.affine_forward(constants, x, p, z, slopes)


def _spline(code: Assembler, step: Spline | Coupling, slopes: int | None) -> Use:
    limits, bins = step.limits, step.bins
    soft = -math.log(limits.slope) if limits.soft else 0.0
    constants = code.constants(step.bound, *limits[:4], soft)
    if slopes is None:
        return lambda z, p, x: code.spline_inverse(constants, z, p, x, bins)
    return lambda x, p, z: code.spline_forward(constants, x, p, z, bins, slopes)
