"""Processors by name: built-in, ``module:Class`` or ``path.py:Class``."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
from coffea.processor import ProcessorABC

from executors.errors import ConfigurationError, first_line

__all__ = ["load_class"]


def load_class(name: str, builtin: Mapping[str, str]) -> type[Any]:
    """Find the class of a processor.

    A class from ``path.py`` travels to workers by value: they need not see the file.

    Arguments:
        name: Key of ``builtin``, ``module:Class`` or ``path.py:Class``.
        builtin: Name to ``module:Class``.
    Raises: ConfigurationError that says which part was not found and what there is.
    """
    place, colon, class_name = builtin.get(name, name).rpartition(":")
    if not colon:
        known = ", ".join(sorted(builtin)) or "none"
        msg = (
            f"processor {name!r} is unknown; built-in: {known}; "
            "your own: module:Class or path.py:Class"
        )
        raise ConfigurationError(msg)
    module = _from_file(Path(place)) if place.endswith(".py") else _from_name(place)
    found = getattr(module, class_name, None)
    if not isinstance(found, type) or not issubclass(found, ProcessorABC):
        classes = [
            key
            for key, value in vars(module).items()
            if isinstance(value, type)
            and issubclass(value, ProcessorABC)
            and value.__module__ == module.__name__
        ]
        there = f"processors there: {', '.join(classes)}" if classes else "no processor is there"
        what = "has no class" if found is None else "holds no coffea ProcessorABC called"
        msg = f"{place} {what} {class_name!r}; {there}"
        raise ConfigurationError(msg)
    return found


def _from_name(place: str) -> ModuleType:
    try:
        return importlib.import_module(place)
    except Exception as error:
        msg = f"module {place!r} cannot be imported: {type(error).__name__}: {first_line(error)}"
        raise ConfigurationError(msg) from error


def _from_file(path: Path) -> ModuleType:
    """Import a user's file under a name of its own and mark it to be sent by value."""
    if not path.is_file():
        msg = f"processor file {path} does not exist"
        raise ConfigurationError(msg)
    path = path.absolute()
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"flashbrew_user_{path.stem}_{digest}", path)
    if spec is None or spec.loader is None:
        msg = f"processor file {path} cannot be imported; it must be a Python file"
        raise ConfigurationError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        msg = f"{path} cannot be imported: {type(error).__name__}: {first_line(error)}"
        raise ConfigurationError(msg) from error
    cloudpickle.register_pickle_by_value(module)
    return module
