"""What all figures share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
import mplhep as mh
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

__all__ = [
    "FLASH",
    "FULL",
    "MUTED",
    "RATIO_RANGE",
    "cms_style",
    "label",
    "legend",
    "log_axis",
    "panels",
]

FULL, FLASH = "#3f90da", "#bd1f01"
"""Full simulation blue, flash red: colours of Petroff, arXiv:2107.02270."""
RATIO_RANGE = (0.55, 1.45)
MUTED = "#717581"


@contextmanager
def cms_style() -> Iterator[None]:
    """CMS style at a size that fits a page, without touching the caller's settings."""
    small = {
        "font.size": 13,
        "axes.labelsize": 14,
        "xtick.labelsize": 12,
        "ytick.labelsize": 12,
        "legend.fontsize": 12,
        "figure.dpi": 100,
        "savefig.dpi": 120,
        "lines.linewidth": 1.5,
        "xtick.major.size": 7,
        "xtick.minor.size": 4,
        "ytick.major.size": 7,
        "ytick.minor.size": 4,
        "figure.constrained_layout.use": False,
        "ytick.minor.visible": False,
        "font.family": "sans-serif",
        "mathtext.fontset": "dejavusans",
        "font.cursive": ["DejaVu Sans"],
    }
    with mpl.rc_context():
        mh.style.use("CMS")
        mpl.rcParams.update(small)
        yield


def panels(ratio: bool = True) -> tuple[Figure, Axes, Axes | None]:
    """Figure with a main panel, below it a ratio panel if wanted."""
    figure = Figure(figsize=(6.4, 5.8 if ratio else 5.2))
    if not ratio:
        return figure, figure.add_axes((0.15, 0.13, 0.81, 0.79)), None
    main = figure.add_axes((0.15, 0.34, 0.81, 0.59))
    below = figure.add_axes((0.15, 0.12, 0.81, 0.2), sharex=main)
    main.tick_params(labelbottom=False)
    return figure, main, below


def label(axes: Axes, dataset: str) -> None:
    """Head line: what made the figure, which data."""
    place = {"transform": axes.transAxes, "va": "bottom"}
    axes.text(0.0, 1.01, "flashbrew", ha="left", fontweight="bold", fontsize=14, **place)
    axes.text(1.0, 1.01, f"simulation, {dataset}", ha="right", fontsize=11, color=MUTED, **place)


def log_axis(axes: Axes, which: Literal["x", "y"]) -> None:
    """Logarithmic scale with round numbers at 1, 2, 5 where less than two decades are shown."""
    axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
    low, high = sorted(axis.get_view_interval())
    {"x": axes.set_xscale, "y": axes.set_yscale}[which]("log")
    short = high < 150 * max(low, 1e-30)
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if short else (1.0,)))
    if short:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def legend(axes: Axes, **options: Any) -> None:
    """Legend where anything has a label."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(**options)
