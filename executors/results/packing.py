"""An accumulator as JSON with a few arrays beside it, and back, exactly.

Histograms are described by their axes, their contents are the raw bytes of their storage, so what
comes back adds, compares and prints like what was packed. Arrays of one type lie in one buffer:
hundreds of histograms cost a handful of arrays.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import hist
import numpy as np

__all__ = ["UnpackableError", "pack", "unpack"]

_PLAIN = (bool, int, float, str)
_AXES = {
    kind.__name__: kind
    for kind in (
        hist.axis.Regular,
        hist.axis.Variable,
        hist.axis.Integer,
        hist.axis.IntCategory,
        hist.axis.StrCategory,
        hist.axis.Boolean,
    )
}
_STORAGES = {
    kind.__name__: kind
    for kind in (
        hist.storage.Double,
        hist.storage.Int64,
        hist.storage.AtomicInt64,
        hist.storage.Weight,
        hist.storage.Mean,
        hist.storage.WeightedMean,
    )
}
_TRANSFORMS = {"log": hist.axis.transform.log, "sqrt": hist.axis.transform.sqrt}
_FLOW = ("underflow", "overflow", "growth", "circular")


class UnpackableError(TypeError):
    """A value that has no exact form as JSON and arrays."""


def pack(value: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """Describe a value by JSON and one flat array per type of number.

    Arguments:
        value: Mappings with text keys, lists, sets, tuples, numbers, text, None, NumPy arrays and
            numbers, histograms; nested as you like.
    Raises: UnpackableError naming what is something else.
    """
    buffers: dict[str, list[np.ndarray]] = {}
    sizes: dict[str, int] = {}

    def store(array: np.ndarray) -> list[Any]:
        """Append an array to the buffer of its type; return where it lies."""
        flat = np.ascontiguousarray(array).reshape(-1)
        kind = flat.dtype.newbyteorder("<").str
        start = sizes.get(kind, 0)
        buffers.setdefault(kind, []).append(flat)
        sizes[kind] = start + flat.size
        return [kind, start, *array.shape]

    tree = _describe(value, store)
    return tree, {
        kind: np.concatenate(parts).astype(kind, copy=False) for kind, parts in buffers.items()
    }


def unpack(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Rebuild what `pack` described."""

    def load(place: list[Any]) -> np.ndarray:
        kind, start, *shape = place
        count = int(np.prod(shape, dtype=np.int64))
        return arrays[kind][start : start + count].reshape(shape)

    return _rebuild(tree, load)


def _describe(value: Any, store: Callable[[np.ndarray], list[Any]]) -> Any:
    if value is None or type(value) in _PLAIN:
        return value
    if type(value) is dict:
        if not all(type(key) is str for key in value):
            msg = f"a mapping has keys that are no text: {list(value)[:3]}"
            raise UnpackableError(msg)
        return {"=": "dict", "of": {key: _describe(item, store) for key, item in value.items()}}
    if type(value) is list:
        return [_describe(item, store) for item in value]
    if type(value) in (tuple, set):
        items = sorted(value, key=repr) if type(value) is set else value
        return {"=": type(value).__name__, "of": [_describe(item, store) for item in items]}
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.hasobject or value.dtype.names:
            msg = f"an array of {value.dtype} is neither numbers nor text"
            raise UnpackableError(msg)
        kind = "array" if isinstance(value, np.ndarray) else "number"
        return {"=": kind, "at": store(np.asarray(value))}
    if type(value) is hist.Hist:
        return _describe_histogram(value, store)
    msg = f"a {type(value).__module__}.{type(value).__qualname__} cannot be stored"
    raise UnpackableError(msg)


def _rebuild(tree: Any, load: Callable[[list[Any]], np.ndarray]) -> Any:
    if isinstance(tree, list):
        return [_rebuild(item, load) for item in tree]
    if not isinstance(tree, dict):
        return tree
    kind = tree["="]
    if kind == "dict":
        return {key: _rebuild(item, load) for key, item in tree["of"].items()}
    if kind in ("tuple", "set"):
        items = [_rebuild(item, load) for item in tree["of"]]
        return tuple(items) if kind == "tuple" else set(items)
    if kind == "array":
        return load(tree["at"]).copy()
    if kind == "number":
        return load(tree["at"])[()]
    return _rebuild_histogram(tree, load)


def _describe_histogram(
    value: hist.Hist, store: Callable[[np.ndarray], list[Any]]
) -> dict[str, Any]:
    axes = value.axes
    frame = {
        "=": "hist",
        "axes": [_describe_axis(axis) for axis in axes],
        "storage": _storage_name(value),
        "name": value.name,
        "label": value.label,
    }
    _check_frame(frame, axes)
    return {**frame, "at": [store(part) for part in _parts(value.view(flow=True))]}


def _storage_name(value: hist.Hist) -> str:
    """Name of a storage: boost_histogram looks through all its classes for it, a fifth of a save.

    Each of them has a histogram class of its own in C++.
    """
    kind = type(value._hist)
    if kind not in _storage_names:
        _storage_names[kind] = value.storage_type.__name__
    return _storage_names[kind]


_storage_names: dict[type, str] = {}


def _rebuild_histogram(tree: dict[str, Any], load: Callable[[list[Any]], np.ndarray]) -> hist.Hist:
    histogram = _template(json.dumps({key: tree[key] for key in tree if key != "at"})).copy()
    for part, place in zip(_parts(histogram.view(flow=True)), tree["at"], strict=True):
        part[...] = load(place)
    return histogram


def _parts(view: np.ndarray) -> list[np.ndarray]:
    """The plain arrays of a storage: one, or one per field."""
    raw = view.view(np.ndarray)
    return [raw[name] for name in raw.dtype.names] if raw.dtype.names else [raw]


def _describe_axis(axis: Any) -> dict[str, Any]:
    kind, traits = type(axis).__name__, axis.traits
    if _AXES.get(kind) is not type(axis) or set(axis.__dict__) - {"name", "label"}:
        msg = f"histogram axis {axis!r} is of a kind that cannot be stored"
        raise UnpackableError(msg)
    # not axis.label: that is the name where there is none
    tree: dict[str, Any] = {"type": kind, **axis.__dict__}
    if kind == "Regular":
        edges = axis.edges
        tree |= {"bins": axis.size, "start": float(edges[0]), "stop": float(edges[-1])}
        if axis.transform is not None:
            tree["transform"] = str(axis.transform)
    elif kind == "Variable":
        tree["edges"] = axis.edges.tolist()
    elif kind == "Integer":
        edges = axis.edges.tolist()
        tree |= {"start": int(edges[0]), "stop": int(edges[-1])}
    elif kind in ("IntCategory", "StrCategory"):
        tree |= {"categories": list(axis), "overflow": traits.overflow, "growth": traits.growth}
    if kind in ("Regular", "Variable", "Integer"):
        tree |= {name: getattr(traits, name) for name in _FLOW}
    return tree


def _make_axis(tree: Mapping[str, Any]) -> Any:
    options = {key: value for key, value in tree.items() if key != "type"}
    if "transform" in options:
        options["transform"] = _TRANSFORMS[options["transform"]]
    kind = _AXES[tree["type"]]
    if tree["type"] == "Regular":
        places = [options.pop(key) for key in ("bins", "start", "stop")]
    elif tree["type"] == "Variable":
        places = [options.pop("edges")]
    elif tree["type"] == "Integer":
        places = [options.pop(key) for key in ("start", "stop")]
    elif tree["type"] == "Boolean":
        places = []
    else:
        places = [options.pop("categories")]
    return kind(*places, **options)


_templates: dict[str, hist.Hist] = {}


def _template(text: str) -> hist.Hist:
    """Empty histogram of a description; made once in each process."""
    if text not in _templates:
        tree = json.loads(text)
        _templates[text] = hist.Hist(
            *map(_make_axis, tree["axes"]),
            storage=_STORAGES[tree["storage"]](),
            name=tree["name"],
            label=tree["label"],
        )
    return _templates[text]


def _check_frame(frame: dict[str, Any], axes: Any) -> None:
    """Prove that the description gives the same axes to the last bit.

    Raises: UnpackableError.
    """
    try:
        template = _template(json.dumps(frame))
    except (KeyError, TypeError, ValueError) as error:
        msg = f"histogram {axes!r} with storage {frame['storage']} cannot be stored"
        raise UnpackableError(msg) from error
    if template.axes != axes:
        msg = f"histogram axes {axes!r} do not come back the same"
        raise UnpackableError(msg)
