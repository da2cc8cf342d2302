"""What is made once from the merged result of photon times: its part of the report, figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from processors.base import Result
from processors.duplicates import repeated_events
from processors.folders import dataset_folder
from processors.plots.saving import save_figures
from processors.timing.comparison import binned, distances, resolutions
from processors.timing.figures import figures
from processors.timing.reading import has_content

__all__ = ["finish"]


def finish(accumulator: Result, output_dir: Path) -> dict[str, Any]:
    """Write the figures of every dataset to ``plots/``, return distances and resolutions.

    Returns: ``distances`` of whole columns and in bins of z; ``bins`` of time in z, θ, p;
        ``resolutions`` of the first two photons and of the signals; ``plots``;
        ``repeated_events``.
    """
    rows: dict[str, list[Any]] = {"distances": [], "bins": [], "resolutions": []}
    drawn: dict[Path, Callable[[], Figure]] = {}
    again: dict[str, int | None] = {}
    for dataset, result in accumulator.items():
        hists, named = result["hists"], {"dataset": dataset}
        for name, told in (
            ("distances", distances),
            ("bins", binned),
            ("resolutions", resolutions),
        ):
            rows[name] += [named | row for row in told(hists)]
        folder = output_dir / "plots"
        if len(accumulator) > 1:
            folder /= dataset_folder(dataset)
        folder.mkdir(parents=True, exist_ok=True)
        drawn |= {folder / f"{name}.png": draw for name, draw in figures(hists, dataset)}
        again[dataset] = repeated_events(
            (output_dir / path for path in result["outputs"]), has_content
        )
        if again[dataset] is not None:
            result.setdefault("counters", {})["events.repeated"] = again[dataset]
    save_figures(drawn)
    plots = [str(path.relative_to(output_dir)) for path in drawn]
    return {**rows, "plots": plots, "repeated_events": again}
