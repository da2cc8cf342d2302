"""Distances in bins of three variables beside what chance gives there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from processors.plots.style import MUTED, cms_style, label

__all__ = ["Axis", "plot_grid"]

LOWEST, HIGHEST = 0.5, 8.0
"""KS over its noise at the ends of the colours."""
DARK = 3.0
"""KS over its noise from which numbers are written in white."""
EMPTY = "#ededf0"
NOTE = "KS (noise); grey: too few entries"


class Axis(NamedTuple):
    """Bins of one variable.

    Attributes:
        title: With its unit.
        edges: ``(B + 1,)``.
    """

    title: str
    edges: Sequence[float]


def plot_grid(
    ks: np.ndarray, floor: np.ndarray, axes: tuple[Axis, Axis, Axis], *, dataset: str
) -> Figure:
    """A plane of the first two variables for each bin of the third.

    Colours are KS over its noise; cells hold both numbers, KS above its noise.

    Arguments:
        ks: ``(X, Y, P)``, NaN where nothing is compared.
        floor: What is expected of two samples of one distribution, likewise.
        axes: Of the three variables.
        dataset: Name for the head line.
    """
    across, up, beside = axes
    planes = len(beside.edges) - 1
    rows = -(-planes // 2)
    with cms_style():
        figure = Figure(figsize=(11.0, 0.9 + 4.1 * rows))
        grid = figure.subplots(rows, 2, squeeze=False, sharex=True, sharey=True)
        figure.subplots_adjust(0.075, 0.085, 0.89, 0.925, wspace=0.14, hspace=0.16)
        norm = LogNorm(LOWEST, HIGHEST)
        for number, plane in enumerate(grid.ravel()):
            if number >= planes:
                plane.set_visible(False)
                continue
            over = np.ma.masked_invalid(ks[..., number] / floor[..., number])
            plane.set_facecolor(EMPTY)
            mesh = plane.pcolormesh(across.edges, up.edges, over.T, cmap="YlOrRd", norm=norm)
            _write(plane, ks[..., number], floor[..., number], axes)
            low, high = beside.edges[number], beside.edges[number + 1]
            name, _, unit = beside.title.partition(" [")
            title = f"{name} {low:.3g} to {high:.3g} {unit.rstrip(']')}"
            plane.set_title(title, fontsize=12, pad=6, loc="center")
            for axis, edges in ((plane.xaxis, across.edges), (plane.yaxis, up.edges)):
                axis.set_major_locator(FixedLocator(list(edges)))
                axis.set_minor_locator(NullLocator())
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
        for plane in grid[-1]:
            plane.set_xlabel(across.title)
        for plane in grid[:, 0]:
            plane.set_ylabel(up.title)
        figure.text(0.075, 0.02, NOTE, fontsize=10.5, color=MUTED)
        head = figure.add_axes((0.075, 0.085, 0.815, 0.88))
        head.set_axis_off()
        label(head, dataset)
        bar = figure.add_axes((0.91, 0.085, 0.02, 0.84))
        figure.colorbar(mesh, cax=bar, extend="both", label="KS / noise, 1 by chance")
        ticks = (0.5, 1, 2, 4, 8)
        bar.yaxis.set_major_locator(FixedLocator(ticks))
        bar.yaxis.set_minor_locator(NullLocator())
        bar.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return figure


def _write(plane: Axes, ks: np.ndarray, floor: np.ndarray, axes: Sequence[Axis]) -> None:
    """Both numbers into the cells that have them."""
    x, y = (0.5 * (np.asarray(a.edges[1:]) + np.asarray(a.edges[:-1])) for a in axes[:2])
    for i, j in np.argwhere(np.isfinite(ks)):
        color = "white" if ks[i, j] > DARK * floor[i, j] else "black"
        text = f"{ks[i, j]:.4f}\n({floor[i, j]:.4f})"
        plane.text(x[i], y[j], text, ha="center", va="center", fontsize=7.5, color=color)
