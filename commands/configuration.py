"""Configuration of a run: what the YAML file says, overridden by the command line."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from executors.errors import ConfigurationError
from executors.inputs.fileset import absolute_name
from executors.yaml_text import load_yaml

__all__ = ["processor_options", "read_config", "refuse_ignored", "settle"]

SHARED = {
    "output": "output",
    "bundles": "bundle",
    "bundle_digests": "bundle_digest",
    "device": "device",
    "seed": "seed",
    "format": "format",
    "oversample": "oversample",
}
"""Keys that configurations share, with the options that override them."""


def settle(options: argparse.Namespace) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Options with what the configuration file and the defaults add; the file's further keys.

    Paths become absolute: a report is read elsewhere. A digest belongs to its bundle: ``--bundle``
    replaces the file's ``bundle_digests`` too.

    Raises: ValueError naming the key that is wrong.
    """
    # imports pydantic: after the cheap checks of the command line
    from processors.config import FlowConfig

    file = read_config(options.config)
    further = {key: file[key] for key in file if key not in SHARED}
    values = {key: file[key] for key in SHARED if file.get(key) is not None}
    given = {key: getattr(options, name) for key, name in SHARED.items()}
    if given["bundles"]:
        values.pop("bundle_digests", None)
    values |= {key: value for key, value in given.items() if value not in (None, [])}
    checked = FlowConfig.from_mapping(values)
    settled = argparse.Namespace(**vars(options))
    for key, name in SHARED.items():
        value = getattr(checked, key)
        setattr(settled, name, list(value) if isinstance(value, tuple) else value)
    settled.bundle = [absolute_name(path) for path in settled.bundle]
    settled.inputs = [absolute_name(path) for path in options.inputs]
    for name in ("output", "fileset", "config"):
        path = getattr(settled, name)
        setattr(settled, name, absolute_name(path) if path else None)
    if settled.output is None and not options.dry_run:
        msg = "name the directory of the results with --output"
        raise ConfigurationError(msg)
    return settled, further


def refuse_ignored(options: argparse.Namespace, kind: type[Any]) -> None:
    """Refuse settled options that the processor would never see.

    Raises: ConfigurationError naming them.
    """
    from processors.config import FlowConfig

    default = FlowConfig()
    # one that is no FlowConfig says nothing of what it uses
    used = getattr(getattr(kind, "Config", None), "model_fields", SHARED)
    why = f"{options.processor} does not use"
    if not hasattr(kind, "from_options"):
        used = ("output",)
        why = f"{kind.__name__} has no class method from_options(options) that would take"
    names = [
        f"--{name.replace('_', '-')}"
        for key, name in SHARED.items()
        if key not in used and _listed(getattr(options, name)) != _listed(getattr(default, key))
    ]
    if options.config and not hasattr(kind, "from_options"):
        names.append("--config")
    if names:
        msg = f"{why} {', '.join(names)}; leave it out"
        raise ConfigurationError(msg)


def processor_options(options: argparse.Namespace, further: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the settled options that a processor sees, with its own keys in ``config``."""
    return {
        "output": Path(options.output) if options.output else None,
        "bundles": [Path(path) for path in options.bundle],
        "bundle_digests": list(options.bundle_digest),
        "config": dict(further),
        "device": options.device,
        "seed": options.seed,
        "format": options.format,
        "oversample": options.oversample,
    }


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def read_config(path: str | Path | None) -> dict[str, Any]:
    """Read the YAML configuration of a processor; of no path, none.

    Raises: ConfigurationError where it cannot be read, or is no mapping.
    """
    if path is None:
        return {}
    try:
        content = load_yaml(Path(path).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"configuration {path} cannot be read: {error.strerror or error}"
        raise ConfigurationError(msg) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"configuration {path} is not YAML: {' '.join(str(error).split())}"
        raise ConfigurationError(msg) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        msg = f"configuration {path} must be a mapping of keys to values"
        raise ConfigurationError(msg)
    return content
