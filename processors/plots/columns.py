"""One column, full against flash simulation."""

from __future__ import annotations

import hist
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from processors.distances import Distance, from_histograms
from processors.plots.style import FLASH, FULL, RATIO_RANGE, cms_style, label, log_axis, panels

__all__ = ["plot_column"]

DYNAMIC_RANGE = 50.0
"""Ratio of highest to lowest filled bin above which the axis becomes logarithmic (chosen)."""
SMALL_NOISE = 0.001
"""Noise of a distance below which it has four digits, not three."""
POINT_LIKE = 12
"""Up to this many bins, values are integers and every tick is drawn."""


def plot_column(
    histogram: hist.Hist, *, dataset: str, counted: str = "objects", found: Distance | None = None
) -> Figure:
    """Shapes of one column with ratio panel and distances.

    Arguments:
        histogram: Axes ``source`` (full, flash) and the variable, other axes summed.
        dataset: Name for the head line.
        counted: What an entry is.
        found: Distances to write; default: those of ``histogram``. For bins that were merged for
            the eye, whose distances differ from those of the finer ones.
    """
    flash = histogram["flash", :]
    full = histogram["full", :]
    known = full.sum().value > 0
    with cms_style():
        figure, main, below = panels(ratio=known)
        edges = histogram.axes[-1].edges
        if known:
            main.stairs(*_shape(full), color=FULL, fill=True, alpha=0.35, label="full simulation")
            main.stairs(*_shape(full), color=FULL)
            _band(main, full)
        main.stairs(*_shape(flash), color=FLASH, linewidth=1.8, label="flash simulation")
        main.set_ylabel(f"share of {counted}")
        main.set_xlim(edges[0], edges[-1])
        _scale(main, histogram)
        label(main, dataset)
        main.legend(frameon=False, loc="upper right", borderaxespad=0.3)
        if known and found is None:
            found = from_histograms(full, flash)
        _write(main, found if known else None, _flow(full, flash, known))
        lowest = below if below is not None else main
        lowest.set_xlabel(histogram.axes[-1].label or histogram.axes[-1].name)
        if below is not None:
            _ratio(below, full, flash)
    return figure


def _total(one: hist.Hist) -> float:
    return float(one.sum(flow=True).value)


def _shape(one: hist.Hist) -> tuple[np.ndarray, np.ndarray]:
    """Share of all entries per bin, flow bins counted in the total but not drawn."""
    return one.values() / (_total(one) or 1.0), one.axes[0].edges


def _band(axes: Axes, one: hist.Hist) -> None:
    share, edges = _shape(one)
    error = np.sqrt(one.variances()) / (_total(one) or 1.0)
    low, high = np.clip(share - error, 0, None), share + error
    axes.fill_between(
        edges,
        np.append(low, low[-1]),
        np.append(high, high[-1]),
        step="post",
        color=FULL,
        alpha=0.35,
        linewidth=0,
    )


def _scale(axes: Axes, histogram: hist.Hist) -> None:
    """Logarithmic axes where the bins or the contents ask for them, room for the legend."""
    edges = histogram.axes[-1].edges
    if edges[0] > 0 and np.allclose(edges[1:] / edges[:-1], edges[1] / edges[0], rtol=1e-6):
        log_axis(axes, "x")
    elif len(edges) <= POINT_LIKE:
        axes.set_xticks(np.rint(0.5 * (edges[1:] + edges[:-1])))
        axes.xaxis.set_minor_locator(_no_ticks())
    values = histogram.project("source", histogram.axes[-1].name).values()
    shares = values / np.maximum(values.sum(axis=1, keepdims=True), 1e-30)
    filled = shares[shares > 0]
    if len(filled) and filled.max() / np.quantile(filled, 0.1) > DYNAMIC_RANGE:
        axes.set_yscale("log")
        axes.set_ylim(filled.min() * 0.5, filled.max() * 60)
    elif len(filled):
        axes.set_ylim(0, filled.max() * 1.5)


def _no_ticks() -> object:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _flow(full: hist.Hist, flash: hist.Hist, known: bool) -> list[str]:
    """What lies outside the axis: sentinels, empty cones, tails."""
    lines = []
    for name, position in (("below", 0), ("above", -1)):
        shares = [
            one.values(flow=True)[position] / (_total(one) or 1.0)
            for one in ((full, flash) if known else (flash,))
        ]
        if max(shares) > 5e-4:
            numbers = " / ".join(f"{100 * share:.1f}" for share in shares)
            lines.append(f"{name} axis: {numbers} %")
    return lines


def _ratio(axes: Axes, full: hist.Hist, flash: hist.Hist) -> None:
    (expected, edges), (made, _) = _shape(full), _shape(flash)
    filled = expected > 0
    ratio = np.divide(made, expected, out=np.full_like(made, np.nan), where=filled)
    relative = {}
    for name, one in (("full", full), ("flash", flash)):
        values = one.values()
        relative[name] = np.divide(
            np.sqrt(one.variances()), values, out=np.zeros_like(values), where=values > 0
        )
    centres = 0.5 * (edges[1:] + edges[:-1])
    if axes.get_xscale() == "log":
        centres = np.sqrt(edges[1:] * edges[:-1])
    axes.axhline(1.0, color="black", linewidth=0.8)
    low, high = 1.0 - relative["full"], 1.0 + relative["full"]
    axes.fill_between(
        edges,
        np.append(low, low[-1]),
        np.append(high, high[-1]),
        step="post",
        color=FULL,
        alpha=0.35,
        linewidth=0,
    )
    axes.errorbar(
        centres, ratio, ratio * relative["flash"], fmt="o", color=FLASH, markersize=3, linewidth=1
    )
    axes.set_ylim(*RATIO_RANGE)
    axes.set_ylabel("flash / full", fontsize=12)


def _write(axes: Axes, found: Distance | None, flow: list[str]) -> None:
    """Distances, then what lies outside the axis, in the upper left corner."""
    lines = flow
    if found is not None:
        lines = [
            f"KS {_beside(found.ks, found.ks_floor)}",
            f"W₁/σ {_beside(found.w1, found.w1_floor)}",
            *flow,
        ]
    axes.text(0.03, 0.96, "\n".join(lines), transform=axes.transAxes, va="top", fontsize=10.5)


def _beside(value: float, noise: float) -> str:
    """Three digits behind the point; four where three would show noise as nothing."""
    digits = 3 if noise >= SMALL_NOISE else 4
    return f"{value:.{digits}f} (noise {noise:.{digits}f})"
