"""Histograms of a run in UHI serialization, readable by any UHI reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hist
import uhi.io.json

from executors.atomic import write_atomically
from executors.errors import ConfigurationError
from executors.task import Accumulator

__all__ = ["NAME", "read_histograms", "write_histograms"]

NAME = "histograms.json"


def write_histograms(path: Path, accumulator: Accumulator) -> None:
    """Write every histogram under the name ``dataset/name``, the flat layout of UHI files."""
    flat = {
        f"{dataset}/{name}": histogram
        for dataset, content in accumulator.items()
        for name, histogram in content["hists"].items()
    }
    write_atomically(path, json.dumps(flat, default=uhi.io.json.default))


def read_histograms(path: Path) -> dict[str, dict[str, Any]]:
    """Read histograms back, grouped by dataset.

    Raises: ConfigurationError where the file is missing or no UHI file.
    """
    try:
        flat = json.loads(path.read_text(encoding="utf-8"), object_hook=uhi.io.json.object_hook)
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read as histograms ({error}); run the processor again"
        raise ConfigurationError(msg) from error
    grouped: dict[str, dict[str, Any]] = {}
    for key, content in flat.items():
        dataset, _, name = key.partition("/")
        grouped.setdefault(dataset, {})[name] = hist.Hist(content)
    return grouped
