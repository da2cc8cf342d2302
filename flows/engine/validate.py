"""Whether the arrays of a plan fit each other: asked of every plan that was read from a file."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from flows.engine.plan import (
    SCALE_RULES,
    Affine,
    Base,
    Coupling,
    Dense,
    Feedforward,
    Gated,
    Linear,
    Made,
    Plan,
    Residual,
    ResidualNet,
    Spline,
)
from flows.spline import Limits

__all__ = ["PlanError", "check_plan"]


class PlanError(ValueError):
    """A plan has parts that are missing, unknown, or do not fit each other."""


def check_plan(plan: Plan) -> None:
    """Compare all shapes and degrees; all numbers must be finite, but for the limit of raw ones.

    Raises: PlanError naming the first part that does not fit.
    """
    _positive(plan.features, "features")
    _count(plan.context, "context")
    width = plan.context
    for i, layer in enumerate(plan.embedding):
        width = _dense(layer, width, f"embedding.{i}")
    _shaped(plan.base, Base, "base", loc=(plan.features,), scale=(plan.features,))
    if not (plan.base.scale > 0).all():
        _refuse("base.scale", "positive numbers", plan.base.scale)
    for i, step in enumerate(plan.steps):
        check = _CHECKS.get(type(step))
        if check is None:
            _refuse(f"steps.{i}", f"one of {[k.__name__ for k in _CHECKS]}", type(step).__name__)
        check(step, plan, f"steps.{i}")


def _linear(step: Linear, plan: Plan, where: str) -> None:
    square = (plan.features, plan.features)
    _shaped(step, Linear, where, matrix=square, inverse=square, bias=(plan.features,))
    _number(step.log_det, f"{where}.log_det")
    product = step.matrix @ step.inverse
    if not np.allclose(product, np.eye(plan.features), atol=1e-6):
        _refuse(f"{where}.inverse", "the inverse of the matrix", "another matrix")


def _affine(step: Any, plan: Plan, where: str) -> None:
    if step.parametrisation not in SCALE_RULES:
        _refuse(f"{where}.parametrisation", f"one of {sorted(SCALE_RULES)}", step.parametrisation)
    _made(step.made, plan, 2, f"{where}.made")


def _spline(step: Any, plan: Plan, where: str) -> None:
    _made(step.made, plan, _box(step, where), f"{where}.made")


def _coupling(step: Any, plan: Plan, where: str) -> None:
    outputs = _box(step, where)
    both = [*np.ravel(step.kept).tolist(), *np.ravel(step.moved).tolist()]
    if sorted(both) != list(range(plan.features)) or not len(step.moved):
        _refuse(where, "every feature kept or moved, once", f"{step.kept} and {step.moved}")
    if not isinstance(step.net, ResidualNet):
        _refuse(f"{where}.net", "ResidualNet", type(step.net).__name__)
    inputs = len(step.kept) + plan.embedded
    hidden = _dense(step.net.first, inputs, f"{where}.net.first")
    for i, block in enumerate(step.net.blocks):
        place = f"{where}.net.blocks.{i}"
        _shaped(block, Gated, place, scale=(hidden,), shift=(hidden,))
        inside = _dense(block.inner, hidden, f"{place}.inner")
        _same(_dense(block.outer, inside, f"{place}.outer"), hidden, f"{place}.outer")
        if block.gate is not None:
            _same(_dense(block.gate, plan.embedded, f"{place}.gate"), hidden, f"{place}.gate")
    final = f"{where}.net.final"
    _same(_dense(step.net.final, hidden, final), outputs * len(step.moved), final)


def _box(step: Any, where: str) -> int:
    """Check what every spline has; return the outputs per feature that it needs."""
    _positive(step.bins, f"{where}.bins")
    _number(step.bound, f"{where}.bound")
    limits = step.limits
    if not isinstance(limits, Limits) or not isinstance(limits.soft, bool):
        _refuse(f"{where}.limits", "Limits", limits)
    for name, value in zip(Limits._fields[:3], limits):
        _number(value, f"{where}.limits.{name}")
    if limits.raw != np.inf:
        _number(limits.raw, f"{where}.limits.raw")
    if step.bins * max(limits.width, limits.height) >= 1 or not step.bound > 0:
        _refuse(where, "bins that fit into the box", f"{step.bins} bins, bound {step.bound}")
    if not 0 < limits.slope < 1:
        _refuse(f"{where}.limits.slope", "a least slope between 0 and 1", limits.slope)
    return 3 * int(step.bins) - 1


_CHECKS: dict[type, Callable[[Any, Plan, str], None]] = {
    Linear: _linear,
    Affine: _affine,
    Spline: _spline,
    Coupling: _coupling,
}


def _made(made: Any, plan: Plan, outputs: int, where: str) -> None:
    if not isinstance(made, Made):
        _refuse(where, "Made", type(made).__name__)
    hidden = _dense(made.first, plan.features, f"{where}.first")
    degrees = _degrees(made.degrees, hidden, plan.features, f"{where}.degrees")
    if made.context is not None:
        _same(_dense(made.context, plan.embedded, f"{where}.context"), hidden, f"{where}.context")
    _masked(made.first, np.arange(1, plan.features + 1), degrees, f"{where}.first")
    for i, block in enumerate(made.blocks):
        place = f"{where}.blocks.{i}"
        if isinstance(block, Feedforward):
            width = _dense(block.dense, hidden, f"{place}.dense")
            after = _degrees(block.degrees, width, plan.features, f"{place}.degrees")
            _masked(block.dense, degrees, after, f"{place}.dense")
            hidden, degrees = width, after
        elif isinstance(block, Residual):
            _residual(block, plan, degrees, place)
        else:
            _refuse(place, "Feedforward or Residual", type(block).__name__)
    _same(_dense(made.final, hidden, f"{where}.final"), outputs * plan.features, f"{where}.final")
    owners = np.repeat(np.arange(plan.features), outputs)
    _masked(made.final, degrees, owners, f"{where}.final")


def _residual(block: Residual, plan: Plan, degrees: Any, where: str) -> None:
    hidden = len(degrees)
    inside = _dense(block.inner, hidden, f"{where}.inner")
    inner = _degrees(block.degrees, inside, plan.features, f"{where}.degrees")
    _same(_dense(block.outer, inside, f"{where}.outer"), hidden, f"{where}.outer")
    _shaped(block, Residual, where, scale=(hidden,), shift=(hidden,))
    if block.context.shape not in ((inside, 0), (inside, plan.embedded)):
        _refuse(f"{where}.context", f"shape {(inside, plan.embedded)}", block.context.shape)
    _finite(block.context, f"{where}.context")
    if block.gate is not None:
        _same(_dense(block.gate, plan.embedded, f"{where}.gate"), hidden, f"{where}.gate")
    bare = block.gate is None and (block.scale == 1).all() and not block.shift.any()
    if not isinstance(block.rectified, bool) or not (block.rectified or bare):
        wanted = "true, or false in a block without gate, scale and shift"
        _refuse(f"{where}.rectified", wanted, block.rectified)
    _masked(block.inner, degrees, inner, f"{where}.inner")
    _masked(block.outer, inner, degrees, f"{where}.outer")


def _masked(dense: Dense, before: Any, after: Any, where: str) -> None:
    """Ask that no output sees an input of higher degree."""
    if dense.weight[before[None, :] > after[:, None]].any():
        _refuse(f"{where}.weight", "zero where the mask is", "numbers")


def _dense(dense: Any, inputs: int, where: str) -> int:
    if not isinstance(dense, Dense):
        _refuse(where, "Dense", type(dense).__name__)
    outputs = len(dense.bias)
    _shaped(dense, Dense, where, weight=(outputs, inputs), bias=(outputs,))
    return outputs


def _degrees(degrees: Any, width: int, features: int, where: str) -> Any:
    fine = isinstance(degrees, np.ndarray) and degrees.shape == (width,)
    if not fine or degrees.dtype.kind != "i" or (np.diff(degrees) < 0).any():
        _refuse(where, f"{width} ascending whole numbers", degrees)
    if width and not (degrees[0] >= 0 and degrees[-1] < max(features, 1)):
        _refuse(where, f"degrees from 0 to {features - 1}", (degrees[0], degrees[-1]))
    return degrees


def _shaped(part: Any, kind: type, where: str, **shapes: tuple[int, ...]) -> None:
    if not isinstance(part, kind):
        _refuse(where, kind.__name__, type(part).__name__)
    for name, shape in shapes.items():
        array = getattr(part, name)
        if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != np.float64:
            _refuse(f"{where}.{name}", f"float64 of shape {shape}", getattr(array, "shape", array))
        _finite(array, f"{where}.{name}")


def _finite(array: Any, where: str) -> None:
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        _refuse(where, "finite numbers", f"{count} of {array.size} that are NaN or infinite")


def _same(found: int, wanted: int, where: str) -> None:
    if found != wanted:
        _refuse(where, f"{wanted} outputs", found)


def _positive(value: Any, where: str) -> None:
    _count(value, where)
    if value < 1:
        _refuse(where, "at least 1", value)


def _count(value: Any, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        _refuse(where, "a whole number", value)


def _number(value: Any, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(where, "a number", value)
    if not math.isfinite(value):
        _refuse(where, "a finite number", value)


def _refuse(where: str, expected: str, found: Any) -> NoReturn:
    msg = f"plan: {where} expected {expected}, found {found}; the file does not describe a flow"
    raise PlanError(msg)
