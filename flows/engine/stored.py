"""Plans as plain JSON beside named tensors, the way a bundle keeps them.

The structure is that of :mod:`flows.engine.plan`: every object names its class, every array the
tensor that holds it. Arrays whose values all are float32 numbers are kept as such, whole numbers as
int64. What comes back is checked before anything computes with it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flows.engine import plan as vocabulary
from flows.engine.plan import Plan
from flows.engine.validate import PlanError, check_plan
from flows.spline import Limits

__all__ = ["plan_from_stored", "plan_to_stored"]

CLASS, ARRAY, NUMBER = "class", "array", "number"
CLASSES: dict[str, type] = {
    name: kind
    for name in vocabulary.__all__
    if isinstance(kind := getattr(vocabulary, name), type) and dataclasses.is_dataclass(kind)
} | {"Limits": Limits}
"""What a stored plan may consist of."""


def plan_to_stored(plan: Plan) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Write a plan as JSON types and tensors by name.

    Example:
        >>> from flows.engine.testing import random_transform
        >>> from flows.engine.compile_nflows import compile_transform
        >>> plan = compile_transform(random_transform("spline", 3, 2, steps=1), 3, 2)
        >>> structure, tensors = plan_to_stored(plan)
        >>> structure["class"], tensors["steps.0.matrix"].shape
        ('Plan', torch.Size([3, 3]))
        >>> plan_from_stored(structure, tensors).features
        3
    """
    tensors: dict[str, Tensor] = {}
    structure: dict[str, Any] = _written(plan, "", tensors)
    return structure, tensors


def plan_from_stored(structure: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Plan:
    """Read what :func:`plan_to_stored` wrote.

    Raises: PlanError for classes, fields or tensors that are missing, unknown or do not fit.
    """
    used: set[str] = set()
    plan = _read(structure, tensors, used)
    if not isinstance(plan, Plan):
        msg = f"a stored plan begins with class 'Plan', found {type(plan).__name__}"
        raise PlanError(msg)
    check_plan(plan)
    unused = sorted(set(tensors) - used)
    if unused:
        msg = f"tensors {unused} belong to no part of the plan"
        raise PlanError(msg)
    return plan


def _written(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, np.ndarray):
        tensors[place] = _tensor(value)
        return {ARRAY: place}
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return [_written(v, _join(place, str(i)), tensors) for i, v in enumerate(value)]
    name = type(value).__name__
    if CLASSES.get(name) is type(value):
        fields = {f: _written(getattr(value, f), _join(place, f), tensors) for f in _fields(value)}
        return {CLASS: name} | fields
    if isinstance(value, float) and not math.isfinite(value):
        return {NUMBER: str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    msg = f"a plan's {place or 'top'} of type {name} cannot be stored"
    raise PlanError(msg)


def _read(value: Any, tensors: Mapping[str, Tensor], used: set[str]) -> Any:
    if isinstance(value, list):
        return tuple(_read(v, tensors, used) for v in value)
    if not isinstance(value, Mapping):
        return value
    if set(value) == {ARRAY}:
        return _array(str(value[ARRAY]), tensors, used)
    if set(value) == {NUMBER}:
        return float(value[NUMBER])
    name = value.get(CLASS)
    kind = CLASSES.get(name) if isinstance(name, str) else None
    if kind is None:
        msg = f"unknown class {name!r} in a stored plan; this version knows {sorted(CLASSES)}"
        raise PlanError(msg)
    values = {k: _read(v, tensors, used) for k, v in value.items() if k != CLASS}
    try:
        return kind(**values)
    except TypeError as error:
        msg = f"class {name!r} in a stored plan: {error}"
        raise PlanError(msg) from error


def _array(name: str, tensors: Mapping[str, Tensor], used: set[str]) -> Any:
    if name not in tensors:
        msg = f"the plan needs tensor {name!r}, which is missing"
        raise PlanError(msg)
    used.add(name)
    array = tensors[name].detach().cpu().numpy()
    wanted = np.int64 if array.dtype.kind in "iu" else np.float64
    return np.ascontiguousarray(array, dtype=wanted)


def _tensor(array: np.ndarray[Any, Any]) -> Tensor:
    if array.dtype.kind == "f":
        single = array.astype(np.float32)
        if np.array_equal(single.astype(np.float64), array, equal_nan=True):
            array = single
    return torch.from_numpy(np.ascontiguousarray(array).copy())


def _fields(value: Any) -> tuple[str, ...]:
    if hasattr(value, "_fields"):
        return tuple(value._fields)
    return tuple(f.name for f in dataclasses.fields(value))


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
