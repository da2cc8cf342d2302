"""Curves of the validation: tagging performance, response, efficiency, correlations."""

from __future__ import annotations

from collections.abc import Sequence

import hist
import numpy as np
from matplotlib.figure import Figure

from processors.plots.style import (
    FLASH,
    FULL,
    RATIO_RANGE,
    cms_style,
    label,
    legend,
    log_axis,
    panels,
)

__all__ = [
    "effective_entries",
    "plot_correlation",
    "plot_efficiency",
    "plot_response",
    "plot_roc",
    "roc",
]

STYLES = {"full": (FULL, "-"), "flash": (FLASH, "--")}
NAMES = {"full": "full simulation", "flash": "flash simulation"}
LEAST_ENTRIES = 20
"""Effective entries below which a profile point is left out (chosen)."""
NARROW, BESIDE = (0.15, 0.13, 0.63, 0.79), (0.80, 0.13, 0.03, 0.79)
"""Places (left, bottom, width, height) of a plane with its colour bar: room for the bar's label."""


def roc(signal: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Efficiencies for a cut at every bin edge, from contents with flow bins ``(B + 2,)``.

    Example:
        >>> s, b = roc(np.array([0.0, 1.0, 3.0, 0.0]), np.array([0.0, 3.0, 1.0, 0.0]))
        >>> s.tolist(), b.tolist()
        ([1.0, 1.0, 0.75, 0.0], [1.0, 1.0, 0.25, 0.0])
    """

    def passed(values: np.ndarray) -> np.ndarray:
        return np.cumsum(values[::-1])[::-1] / max(values.sum(), 1e-30)

    return passed(signal), passed(background)


def plot_roc(
    histogram: hist.Hist, *, dataset: str, signal: str = "b", backgrounds: Sequence[str]
) -> Figure:
    """Misidentification against efficiency for full and flash.

    Arguments:
        histogram: Axes ``source``, ``origin``, the score.
        dataset: Name for the head line.
        signal: Origin that is tagged.
        backgrounds: Origins that are rejected; c on its own, the others together.
    """
    groups = {"c": [b for b in backgrounds if b == "c"], "light, gluon": []}
    groups["light, gluon"] = [b for b in backgrounds if b != "c"]
    with cms_style():
        figure, axes, _ = panels(ratio=False)
        for source, (color, _line) in STYLES.items():
            for (name, members), line in zip(groups.items(), ("--", "-"), strict=True):
                wanted = histogram[source, signal, :].values(flow=True)
                other = sum(histogram[source, m, :].values(flow=True) for m in members)
                if not members or wanted.sum() <= 0 or np.sum(other) <= 0:
                    continue
                efficiency, mistag = roc(wanted, np.asarray(other))
                shown = mistag > 0
                axes.plot(
                    efficiency[shown],
                    mistag[shown],
                    color=color,
                    linestyle=line,
                    label=f"{NAMES[source]}, {name}",
                )
        axes.set_yscale("log")
        axes.set_ylim(1e-3, 1.5)
        axes.set_xlim(0, 1)
        axes.set_xlabel(f"{signal} jet efficiency, {histogram.axes[-1].label}")
        axes.set_ylabel("misidentification probability")
        axes.grid(alpha=0.3)
        legend(axes, frameon=False, loc="upper left")
        label(axes, dataset)
    return figure


def effective_entries(values: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Unweighted entries of the same relative error, (sum w)^2 / sum w^2, per bin.

    Zero where the sum of weights is not positive. Independent of the scale of the weights.

    Example:
        >>> effective_entries(np.array([4.0, 0.0]), np.array([8.0, 0.0])).tolist()
        [2.0, 0.0]
    """
    known = (values > 0) & (variances > 0)
    return np.divide(values**2, variances, out=np.zeros(values.shape), where=known)


def _profile(plane: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean, width of the second variable in bins of the first, ``(B, R)`` -> ``(B,)``."""
    entries = plane.sum(axis=1)
    safe = np.where(entries > 0, entries, 1.0)
    mean = (plane * centres).sum(axis=1) / safe
    width = np.sqrt(np.clip((plane * centres**2).sum(axis=1) / safe - mean**2, 0, None))
    return mean, width


def plot_response(histogram: hist.Hist, *, dataset: str, name: str) -> Figure:
    """Mean response, width below, against generated pt.

    Errors of the mean are the width over the root of the effective entries.

    Arguments:
        histogram: Axes ``source``, ``origin``, ``gen_pt``, ``response``.
        dataset: Name for the head line.
        name: Collection, for the axis title.
    """
    summed = histogram[:, sum, :, :]
    edges = summed.axes["gen_pt"].edges
    centres = summed.axes["response"].centers
    middle = np.sqrt(edges[1:] * edges[:-1])
    with cms_style():
        figure, main, below = panels()
        for source, (color, _line) in STYLES.items():
            one = summed[source, :, :]
            mean, width = _profile(one.values(), centres)
            entries = effective_entries(one.values().sum(axis=1), one.variances().sum(axis=1))
            shown = entries > LEAST_ENTRIES
            if not shown.any():
                continue
            error = width / np.sqrt(np.maximum(entries, 1.0))
            main.errorbar(
                middle[shown],
                mean[shown],
                error[shown],
                fmt="o" if source == "full" else "s",
                color=color,
                markersize=5,
                label=NAMES[source],
                mfc="white" if source == "flash" else color,
            )
            below.plot(
                middle[shown],
                width[shown],
                "o-" if source == "full" else "s--",
                color=color,
                markersize=4,
                mfc="white" if source == "flash" else color,
            )
        main.set_xlim(edges[0], edges[-1])
        log_axis(main, "x")
        main.axhline(1.0, color="black", linewidth=0.8, linestyle=":")
        main.set_ylabel(r"mean $p_T / p_T^{gen}$")
        main.margins(y=0.25)
        legend(main, frameon=False)
        below.set_ylabel("width")
        below.set_ylim(bottom=0)
        below.set_xlabel(rf"{name} generated $p_T$ [GeV]")
        label(main, dataset)
    return figure


def plot_efficiency(histogram: hist.Hist, *, dataset: str, name: str) -> Figure:
    """Share of generated objects that are reconstructed, against pt; ratio below if both are known.

    Errors are binomial for the effective number of generated objects.

    Arguments:
        histogram: Axes ``outcome`` (gen, full, flash), ``gen_pt``, ``gen_eta``.
        dataset: Name for the head line.
        name: Collection, for the axis title.
    """
    summed = histogram[:, :, sum]
    edges = summed.axes["gen_pt"].edges
    middle = np.sqrt(edges[1:] * edges[:-1])
    generated = summed["gen", :]
    safe = np.where(generated.values() > 0, generated.values(), np.nan)
    entries = effective_entries(generated.values(), generated.variances())
    drawn = [source for source in STYLES if summed[source, :].values().sum() > 0]
    with cms_style():
        figure, main, below = panels(ratio=len(drawn) == len(STYLES))
        found = {}
        for source in drawn:
            color = STYLES[source][0]
            found[source] = summed[source, :].values() / safe
            spread = np.clip(found[source] * (1 - found[source]), 0, None)
            error = np.sqrt(spread / np.maximum(entries, 1.0))
            main.errorbar(
                middle,
                found[source],
                error,
                fmt="o" if source == "full" else "s",
                color=color,
                markersize=5,
                mfc="white" if source == "flash" else color,
                label=NAMES[source],
            )
        if below is not None:
            ratio = found["flash"] / np.where(found["full"] > 0, found["full"], np.nan)
            below.plot(middle, ratio, "s", color=FLASH, markersize=4)
            below.axhline(1.0, color="black", linewidth=0.8)
            below.set_ylim(*RATIO_RANGE)
            below.set_ylabel("flash / full", fontsize=12)
        lowest = main if below is None else below
        lowest.set_xlabel(rf"{name} generated $p_T$ [GeV]")
        main.set_xlim(edges[0], edges[-1])
        log_axis(main, "x")
        main.set_ylim(0, 1.25)
        main.set_ylabel("reconstructed share")
        legend(main, frameon=False, loc="lower right")
        label(main, dataset)
    return figure


def plot_correlation(histogram: hist.Hist, *, dataset: str) -> Figure:
    """Joint distribution of two columns: full as colour, both as contours.

    Contours of the smoothed contents hold 50 and 90 % of the entries.

    Arguments:
        histogram: Axes ``source``, x, y.
        dataset: Name for the head line.
    """
    x, y = histogram.axes[1], histogram.axes[2]
    with cms_style():
        figure, axes, _ = panels(ratio=False)
        full, flash = (histogram[name, :, :].values() for name in ("full", "flash"))
        shaded, what = (full, "full") if full.sum() > 0 else (flash, "flash")
        if shaded.sum() > 0:
            share = np.where(shaded > 0, shaded / shaded.sum(), np.nan)
            mesh = axes.pcolormesh(x.edges, y.edges, share.T, cmap="Blues", norm="log")
            axes.set_position(NARROW)
            bar = figure.add_axes(BESIDE)
            figure.colorbar(mesh, cax=bar, label=f"share of objects, {what} simulation")
        for values, source in ((full, "full"), (flash, "flash")):
            if values.sum() > 0:
                color, line = STYLES[source]
                values = _smooth(values)
                levels = _levels(values)
                axes.contour(
                    x.centers,
                    y.centers,
                    values.T,
                    levels=levels,
                    colors=color,
                    linestyles=line,
                    linewidths=1.3,
                )
                axes.plot([], [], color=color, linestyle=line, label=NAMES[source])
        axes.set_xlim(x.edges[0], x.edges[-1])
        axes.set_ylim(y.edges[0], y.edges[-1])
        for axis, which in ((x, "x"), (y, "y")):
            if axis.edges[0] > 0 and axis.edges[-1] / axis.edges[0] > 50:
                log_axis(axes, which)
        axes.set_xlabel(x.label or x.name)
        axes.set_ylabel(y.label or y.name)
        legend(axes, loc="upper left", framealpha=0.85, edgecolor="none")
        label(axes, dataset)
    return figure


def _smooth(values: np.ndarray) -> np.ndarray:
    """Binomial average over neighbours in both directions, for contours of few entries."""
    padded = np.pad(values, 1, mode="edge")
    rows = 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]
    return 0.25 * rows[:, :-2] + 0.5 * rows[:, 1:-1] + 0.25 * rows[:, 2:]


def _levels(values: np.ndarray) -> list[float]:
    """Contents above which 90, 50 % of the entries lie, rising, distinct."""
    ordered = np.sort(values.ravel())[::-1]
    below = np.cumsum(ordered) / ordered.sum()
    levels = [ordered[np.searchsorted(below, share)] for share in (0.9, 0.5)]
    return sorted({float(level) for level in levels if level > 0})
