"""What is made once from merged histograms: distances, figures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import hist
from matplotlib.figure import Figure

from processors.base import Result
from processors.distances import from_histograms
from processors.duplicates import repeated_events
from processors.flashsim.validation import EVENT
from processors.folders import dataset_folder
from processors.objects.binning import BINNINGS, CORRELATIONS
from processors.plots.columns import plot_column
from processors.plots.curves import (
    plot_correlation,
    plot_efficiency,
    plot_response,
    plot_roc,
)
from processors.plots.saving import save_figures

__all__ = ["distances", "figures", "finish"]

logger = logging.getLogger(__name__)
TAGGERS = ("btagDeepFlavB", "btagDeepB", "btagCSVV2")
REJECTED = ("c", "gluon", "light")
UNMATCHED = "unmatched"


def matched(histogram: hist.Hist) -> hist.Hist:
    """A column's histogram without objects that have no generator partner, origin summed.

    Flash simulation makes objects from generator objects only; comparing like with like leaves
    pile-up jets, fakes out.
    """
    if "origin" not in histogram.axes.name:
        return histogram
    known = histogram.axes["origin"].index(UNMATCHED)
    return histogram[:, 0:known:sum, :]


def distances(hists: Mapping[str, hist.Hist]) -> list[dict[str, Any]]:
    """Distance of flash from full for every column both have, as plain rows."""
    rows = []
    for collection, columns in BINNINGS.items():
        for variable in columns:
            name = f"{collection}_{variable}"
            if name in hists:
                rows.append(_row(collection, variable, matched(hists[name])))
    for variable in EVENT:
        name = f"event_{variable}"
        if name in hists:
            rows.append(_row("event", variable, hists[name]))
    return [row for row in rows if row is not None]


def _row(collection: str, variable: str, histogram: hist.Hist) -> dict[str, Any] | None:
    full, flash = histogram["full", :], histogram["flash", :]
    if full.sum(flow=True).value <= 0 or flash.sum(flow=True).value <= 0:
        return None
    found = from_histograms(full, flash)
    return {"object": collection, "variable": variable, **found._asdict()}


def figures(
    hists: Mapping[str, hist.Hist], dataset: str
) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """All figures of a dataset with anything in them: file name, function that draws it."""
    hists = {name: one for name, one in hists.items() if one.variances(flow=True).any()}
    for collection, columns in BINNINGS.items():
        for variable in columns:
            name = f"{collection}_{variable}"
            if name in hists:
                yield name, partial(plot_column, matched(hists[name]), dataset=dataset)
        yield from _curves(hists, collection, dataset)
    for tagger in TAGGERS:
        name = f"Jet_{tagger}"
        if name in hists:
            drawn = partial(plot_roc, hists[name], dataset=dataset, backgrounds=REJECTED)
            yield f"roc_{tagger}", drawn
    for variable in EVENT:
        name = f"event_{variable}"
        if name in hists:
            yield name, partial(plot_column, hists[name], dataset=dataset, counted="events")


def _curves(
    hists: Mapping[str, hist.Hist], collection: str, dataset: str
) -> Iterator[tuple[str, Callable[[], Figure]]]:
    for x, y in CORRELATIONS[collection]:
        name = f"{collection}_{x}_{y}"
        if name in hists:
            yield f"correlation_{name}", partial(plot_correlation, hists[name], dataset=dataset)
    for what, plot in (("response", plot_response), ("efficiency", plot_efficiency)):
        name = f"{collection}_{what}"
        if name in hists:
            drawn = partial(plot, hists[name], dataset=dataset, name=collection.lower())
            yield f"{what}_{collection}", drawn


def finish(accumulator: Result, output_dir: Path) -> dict[str, Any]:
    """Write the figures of every dataset to ``plots/``, return all distances.

    Also counts the events that a dataset holds more than once, where its outputs tell: the number
    becomes the counter ``events.repeated`` of ``accumulator``, which stays absent otherwise.

    Arguments:
        accumulator: Merged result.
        output_dir: Directory of the run.
    """
    rows = []
    drawn: dict[Path, Callable[[], Figure]] = {}
    again: dict[str, int | None] = {}
    for dataset, result in accumulator.items():
        hists = result["hists"]
        several = len(accumulator) > 1
        folder = output_dir / "plots"
        if several:
            folder /= dataset_folder(dataset)
        folder.mkdir(parents=True, exist_ok=True)
        rows += [{"dataset": dataset, **row} for row in distances(hists)]
        drawn |= {folder / f"{name}.png": draw for name, draw in figures(hists, dataset)}
        again[dataset] = repeated_events(output_dir / path for path in result["outputs"])
        if again[dataset] is not None:
            result.setdefault("counters", {})["events.repeated"] = again[dataset]
        if again[dataset]:
            logger.warning("%d events of %s occur more than once", again[dataset], dataset)
    save_figures(drawn)
    logger.info("%d figures in %s", len(drawn), output_dir / "plots")
    plots = [str(path.relative_to(output_dir)) for path in drawn]
    return {"distances": rows, "plots": plots, "repeated_events": again}
