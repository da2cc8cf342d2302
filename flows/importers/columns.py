"""What the columns of an imported model are, written as data in a JSON file.

::

    {
      "object": "jet", "collection": "Jet", "source": "GenJet",
      "conditions": [{"name": "GenJet_pt", "unit": "GeV", "range": [10, 2000]}, "GenJet_eta"],
      "targets": [{"name": "Jet_chHEF", "operations": [["i", "tan", [50, -50]]]}],
      "definitions": {"campaign": "RunIISummer20UL18"}
    }

A column is an object or, where there is nothing to say, its name. ``unit`` defaults to ``"1"``.
``transforms`` lists column transforms as cards hold them; targets may have ``operations`` of
:mod:`flows.importers.operations` instead. ``range`` is the training range of a condition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.card import Range
from flows.features import Transform, TransformError, transform_from_dict
from flows.importers.operations import column_of
from flows.importers.source import ForeignModelError, read_json
from flows.layout import ConditionColumn, LayoutError, ObjectLayout, TargetColumn

__all__ = ["Columns", "Scales", "columns_of", "read_columns"]

TOP = {"object", "collection", "source", "conditions", "targets", "definitions"}
CONDITION = {"name", "unit", "transforms", "range"}
TARGET = {"name", "unit", "transforms", "operations"}


@dataclass(frozen=True)
class Columns:
    """Columns of a model.

    Attributes:
        layout: Conditions and targets with their transforms.
        ranges: Training ranges of conditions.
        definitions: What else there is to say about them, as plain JSON types.
    """

    layout: ObjectLayout
    ranges: Mapping[str, Range] = field(default_factory=dict)
    definitions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scales:
    """FlashSim's files beside the weights; ``None`` where there is none.

    Attributes:
        factors: ``scale_factors_*.json``: largest absolute value by column.
        ranges: ``ranges_*.json``: lowest and highest value in full simulation by column.
    """

    factors: Mapping[str, Any] | None = None
    ranges: Mapping[str, Any] | None = None


def read_columns(path: Path, scales: Scales | None = None) -> Columns:
    """Read a file of columns.

    Raises: ForeignModelError naming the file and the entry.
    """
    try:
        return columns_of(read_json(path), scales)
    except ForeignModelError as error:
        msg = str(error) if str(path) in str(error) else f"{path}: {error}"
        raise ForeignModelError(msg) from error


def columns_of(content: Mapping[str, Any], scales: Scales | None = None) -> Columns:
    """Read columns from JSON types.

    Raises: ForeignModelError for entries that are missing, unknown or cannot be read.
    """
    _known(content, TOP, "columns", needed=TOP - {"definitions"})
    ranges: dict[str, Range] = {}
    conditions = [_condition(_entry(c), ranges) for c in _list(content, "conditions")]
    overwritten: dict[str, str] = {}
    files = scales or Scales()
    targets = [_target(_entry(t), files, overwritten) for t in _list(content, "targets")]
    _all_used(files, {str(_entry(t).get("name")) for t in _list(content, "targets")})
    definitions = _definitions(content)
    if overwritten:
        definitions["overwritten"] = overwritten
    try:
        layout = ObjectLayout(
            object=str(content["object"]),
            collection=str(content["collection"]),
            source=str(content["source"]),
            conditions=tuple(conditions),
            targets=tuple(targets),
        )
    except LayoutError as error:
        raise ForeignModelError(str(error)) from error
    return Columns(layout, ranges, definitions)


def _condition(entry: Mapping[str, Any], ranges: dict[str, Range]) -> ConditionColumn:
    name = str(entry.get("name"))
    _known(entry, CONDITION, f"condition {name!r}", needed={"name"})
    if "range" in entry:
        low, high = _span(entry["range"], f"range of condition {name!r}")
        ranges[name] = Range(low, high)
    return ConditionColumn(name, str(entry.get("unit", "1")), _transforms(entry, name))


def _target(entry: Mapping[str, Any], scales: Scales, overwritten: dict[str, str]) -> TargetColumn:
    name = str(entry.get("name"))
    _known(entry, TARGET, f"target {name!r}", needed={"name"})
    unit = str(entry.get("unit", "1"))
    if "transforms" in entry:
        if "operations" in entry:
            msg = f"target {name!r} has both operations and transforms; keep one"
            raise ForeignModelError(msg)
        column = TargetColumn(name, unit, _transforms(entry, name))
        _unscaled(scales, name)
        return column
    operations = entry.get("operations", [])
    if not isinstance(operations, list) or not all(isinstance(o, list) for o in operations):
        msg = f"operations of target {name!r} are a list of lists, found {operations!r}"
        raise ForeignModelError(msg)
    made = column_of(name, operations, _factor(scales, name), _limits(scales, name))
    if made.overwritten is not None:
        overwritten[made.name] = made.overwritten
    return TargetColumn(made.name, unit, made.transforms)


def _unscaled(scales: Scales, name: str) -> None:
    """Refuse what would have no effect: transforms say how a column is scaled and clipped."""
    files = (("scale factor", scales.factors), ("range", scales.ranges))
    given = [what for what, values in files if values is not None and name in values]
    if given:
        msg = (
            f"target {name!r} has transforms, which its {' and '.join(given)} would not enter; "
            f"give operations instead, or add them to the transforms and take them from the files"
        )
        raise ForeignModelError(msg)


def _all_used(scales: Scales, names: set[str]) -> None:
    """Refuse files of another model: they hold the targets of the training, no more."""
    for what, values in (("scale factors", scales.factors), ("ranges", scales.ranges)):
        unused = sorted(set(values or ()) - names)
        if unused:
            msg = (
                f"{what} of {unused[:5]} ({len(unused)} in all) belong to no target; correct the "
                f"names of the columns, or give the {what} of this training"
            )
            raise ForeignModelError(msg)


def _limits(scales: Scales, name: str) -> tuple[float, float] | None:
    if scales.ranges is None:
        return None
    if name not in scales.ranges:
        msg = f"column {name!r} has no range; give the ranges of this training"
        raise ForeignModelError(msg)
    return _span(scales.ranges[name], f"range of column {name!r}")


def _definitions(content: Mapping[str, Any]) -> dict[str, Any]:
    definitions = content.get("definitions", {})
    if not isinstance(definitions, Mapping):
        msg = f"definitions are an object, name to what it means, found {definitions!r}"
        raise ForeignModelError(msg)
    return dict(definitions)


def _factor(scales: Scales, name: str) -> float | None:
    if scales.factors is None:
        return None
    factor: Any = scales.factors.get(name)
    if not _is_number(factor) or not factor > 0:
        msg = (
            f"column {name!r} has no scale factor, found {factor!r}: without it what the flow "
            f"makes means nothing. Give the scale factors of this training"
        )
        raise ForeignModelError(msg)
    return float(factor)


def _transforms(entry: Mapping[str, Any], name: str) -> tuple[Transform, ...]:
    try:
        return tuple(transform_from_dict(item) for item in entry.get("transforms", []))
    except (TransformError, TypeError, AttributeError) as error:
        msg = f"transforms of column {name!r}: {error}"
        raise ForeignModelError(msg) from error


def _entry(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, Mapping):
        return value
    msg = f"a column is a name or an object, found {value!r}"
    raise ForeignModelError(msg)


def _list(content: Mapping[str, Any], key: str) -> Sequence[Any]:
    values = content[key]
    if not isinstance(values, list) or not values:
        msg = f"{key} is a list of at least one column, found {values!r}"
        raise ForeignModelError(msg)
    return values


def _span(value: Any, where: str) -> tuple[float, float]:
    both = isinstance(value, list | tuple) and len(value) == 2
    if not both or not all(map(_is_number, value)) or value[0] > value[1]:
        msg = f"{where}: expected the lowest and the highest value, finite, found {value!r}"
        raise ForeignModelError(msg)
    return float(value[0]), float(value[1])


def _is_number(value: Any) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and math.isfinite(value)


def _known(entry: Mapping[str, Any], known: set[str], where: str, needed: set[str]) -> None:
    missing, unknown = sorted(needed - set(entry)), sorted(set(entry) - known)
    if missing or unknown:
        msg = (
            f"{where}: missing entries {missing}, unknown entries {unknown}; known {sorted(known)}"
        )
        raise ForeignModelError(msg)
