"""FlashSim's operations on generated columns, as column transforms.

The extractor (cms-flashsim/extractor, trainer/training/postprocessing/postprocessing.py; also
cms-flashsim/nbd) divides every column by a scale factor before training. What the flow made is
multiplied with it and goes through a list of operations, each a list that begins with its letter.
Here the list is written as data, functions by name:

- ``["i", "tan" | "exp" | "expm1", [a, b]]``: ``(f(y) − b) / a``
- ``["d", [lowest, edge], value]``: all up to ``edge`` is ``value``; ``lowest`` is ``"-inf"``
- ``["d", null]``: round to the nearest whole number within the column's range
- ``["c", cut, [below, above]]``: two values
- ``["uhf"]``, ``["upf"]``, ``["upu"]``, ``["uj"]``: hadron and parton flavour, pile-up and jet id
- ``["m", condition]``, ``["a", condition]``: times, plus a condition; ``["pmp"]``: wrap an angle
- ``["s"]``: clip to the range of full simulation, at the end if it is not said
- ``["lower_b", cut, value]``: all below ``cut`` is ``value``
- ``["genow", condition]``: the processor writes the condition over the column
- ``["rename", name]``: last
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flows.features import (
    Affine,
    Arctan,
    Clip,
    Dequantise,
    DifferenceTo,
    Log,
    Log1p,
    RatioTo,
    Spike,
    Steps,
    Transform,
    WrapPhi,
)
from flows.importers.source import ForeignModelError

__all__ = ["Column", "column_of"]

STEPS: Mapping[str, Steps] = {
    "uhf": Steps((2.5, 4.5), (0.0, 4.0, 5.0)),
    "upf": Steps((0.5, 1.5, 2.5, 3.5, 4.5, 15.5), (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 21.0)),
    "upu": Steps((2.5, 4.5, 6.5), (0.0, 4.0, 6.0, 7.0)),
    "uj": Steps((1.5, 2.5, 4.5, 6.5), (1.0, 2.0, 3.0, 6.0, 7.0)),
}
"""Values of ids; FlashSim rounds to whole numbers first, so edges lie half way between two."""
LEAST_GAP = 0.5
"""Width of the gap of a hole that is filled with its own edge: FlashSim draws N(−0.5, 0.1)."""
AFTER_CLIP = ("m", "a", "pmp", "genow", "rename")
"""The range is that of the column before these."""


class Column(NamedTuple):
    """A column as it comes out.

    Attributes:
        name: Its name.
        transforms: From physics units to what the flow sees.
        overwritten: Condition that FlashSim writes over the column, if any.
    """

    name: str
    transforms: tuple[Transform, ...]
    overwritten: str | None = None


def column_of(
    name: str,
    operations: Sequence[Sequence[Any]],
    scale: float | None = None,
    limits: tuple[float, float] | None = None,
) -> Column:
    """Write the operations of one column as transforms.

    Arguments:
        name: Name in FlashSim's files.
        operations: In FlashSim's order, from what the flow makes to physics units.
        scale: Its scale factor, or ``None`` if nothing was scaled.
        limits: Its range in full simulation, or ``None`` if none is known.
    Raises: ForeignModelError for an operation that is unknown, incomplete or lacks its range.

    Example:
        >>> column_of("dxy", [["i", "tan", [150, 0]]], 1.57, (-1.0, 1.0)).transforms[1]
        Arctan(scale=150.0, center=0.0)
    """
    back: list[Transform] = [] if scale is None else [Affine(1 / scale)]
    clipped, renamed, overwritten = limits is None, name, None
    for position, operation in enumerate(operations):
        letter = operation[0] if operation else None
        where = f"column {name!r}, operation {list(operation)}"
        if letter in AFTER_CLIP and not clipped:
            back.append(Clip(*_needed(limits, where)))
            clipped = True
        if letter == "rename":
            if position != len(operations) - 1:
                msg = f"{where}: a column is renamed last; move it to the end"
                raise ForeignModelError(msg)
            renamed = str(_argument(operation, 1, where))
        elif letter == "genow":
            overwritten = str(_argument(operation, 1, where))
        else:
            back.append(_transform(operation, limits, where))
            clipped = clipped or isinstance(back[-1], Clip | Dequantise)
    if not clipped:
        back.append(Clip(*_needed(limits, name)))
    return Column(renamed, tuple(reversed(back)), overwritten)


def _transform(
    operation: Sequence[Any], limits: tuple[float, float] | None, where: str
) -> Transform:
    letter = str(operation[0]) if operation else ""
    if letter in STEPS:
        return STEPS[letter]
    if letter == "i":
        return _function(operation, where)
    if letter == "d":
        return _hole(operation, limits, where)
    if letter == "c":
        below, above = _pair(_argument(operation, 2, where), where)
        return Steps((_number(_argument(operation, 1, where), where),), (below, above))
    if letter == "lower_b":
        cut, value = (_number(_argument(operation, i, where), where) for i in (1, 2))
        return _collapsed(cut, value)
    if letter == "m":
        return RatioTo(str(_argument(operation, 1, where)))
    if letter == "a":
        return DifferenceTo(str(_argument(operation, 1, where)))
    if letter == "pmp":
        return WrapPhi()
    if letter == "s":
        return Clip(*_needed(limits, where))
    msg = f"{where}: unknown; known are i, d, c, {', '.join(STEPS)}, m, a, pmp, s, lower_b"
    raise ForeignModelError(msg)


def _function(operation: Sequence[Any], where: str) -> Transform:
    """Inverse of ``(f(y) − b) / a``."""
    name = _argument(operation, 1, where)
    a, b = _pair(_argument(operation, 2, where), where)
    if a == 0:
        msg = f"{where}: the factor is 0; there is nothing to invert"
        raise ForeignModelError(msg)
    if name == "tan":
        return Arctan(a, -b / a + 0.0)
    if name == "exp":
        return Log(a, b)
    if name == "expm1":
        return Log1p(a) if b == 0 else Log(a, 1 + b)
    msg = f"{where}: function {name!r} is unknown; known are tan, exp, expm1"
    raise ForeignModelError(msg)


def _hole(operation: Sequence[Any], limits: tuple[float, float] | None, where: str) -> Transform:
    interval = operation[1] if len(operation) > 1 else None
    if interval is None:
        low, high = _needed(limits, where)
        return Dequantise(round(low), round(high))
    low, edge = _pair(interval, where)
    if low != float("-inf"):
        msg = f'{where}: a hole reaches down to "-inf", not to {low}'
        raise ForeignModelError(msg)
    if len(operation) < 3 or operation[2] is None:
        msg = f"{where}: says not which value the hole stands for; add it as third entry"
        raise ForeignModelError(msg)
    return _collapsed(edge, _number(operation[2], where))


def _collapsed(edge: float, value: float) -> Spike:
    """Map all below ``edge`` to ``value``; the peak is spread around it, or below the edge."""
    gap = edge - value if value < edge else LEAST_GAP
    return Spike(value, 0.1, edge + gap / 2, gap)


def _needed(limits: tuple[float, float] | None, where: str) -> tuple[float, float]:
    if limits is None:
        msg = f"{where}: needs the range of the column; add it to the ranges file"
        raise ForeignModelError(msg)
    return limits


def _argument(operation: Sequence[Any], position: int, where: str) -> Any:
    if len(operation) <= position:
        msg = f"{where}: too short, entry {position} is missing"
        raise ForeignModelError(msg)
    return operation[position]


def _pair(value: Any, where: str) -> tuple[float, float]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        msg = f"{where}: expected two numbers, found {value!r}"
        raise ForeignModelError(msg)
    return _number(value[0], where), _number(value[1], where)


def _number(value: Any, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        msg = f"{where}: expected a number, found {value!r}"
        raise ForeignModelError(msg) from error
