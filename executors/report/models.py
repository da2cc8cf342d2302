"""Section of the models in the report of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["PREFIX", "models_section"]

PREFIX = "models."
"""Counters ``models.<digest>.loads`` and ``models.<digest>.<stage>.<number>`` describe a model."""
_NUMBERS = ("calls", "batches", "rows", "padded", "samples", "seconds")


def models_section(
    bundles: Iterable[Mapping[str, Any]], contents: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Work of every model, added over datasets, chunks and the processes that computed them.

    Arguments:
        bundles: Models that were asked for, by ``digest`` and ``name``.
        contents: Merged results of the datasets, with their ``counters``.
    """
    total: Counter[str] = Counter()
    for content in contents:
        for name, value in content.get("counters", {}).items():
            if str(name).startswith(PREFIX):
                total[str(name).removeprefix(PREFIX)] += value
    names = {one["digest"]: one.get("name") for one in bundles if "digest" in one}
    found = {key.split(".")[0] for key in total}
    return [
        {
            "name": names.get(digest),
            "digest": digest,
            "loads": total[f"{digest}.loads"],
            "stages": {
                stage: _stage(total, f"{digest}.{stage}.") for stage in _stages(total, digest)
            },
        }
        for digest in [*names, *sorted(found - set(names))]
    ]


def _stages(total: Mapping[str, Any], digest: str) -> list[str]:
    """Stages that a model computed, in the order of the first call."""
    parts = (name.split(".") for name in total)
    return list(dict.fromkeys(part[1] for part in parts if part[0] == digest and len(part) == 3))


def _stage(total: Counter[str], prefix: str) -> dict[str, Any]:
    numbers = {name: total[f"{prefix}{name}"] for name in _NUMBERS}
    capacity, seconds = numbers["rows"] + numbers["padded"], numbers["seconds"]
    return numbers | {
        "fill": numbers["rows"] / capacity if capacity else None,
        "samples_per_second": numbers["samples"] / seconds if seconds else None,
    }
