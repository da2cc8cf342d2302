"""Widths of distributions in bins of a variable, full against flash simulation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from processors.plots.style import FLASH, FULL, cms_style, label, legend, panels

__all__ = ["Widths", "plot_widths"]

MARKERS, LINES = ("o", "s"), ("-", (0, (4, 1.5)))
APART = 0.12
"""Of a bin, between the points of the first and the second quantity and its middle."""
LEAST_RANGE, MOST_RANGE = 0.07, 0.6
"""Of the ratio, to either side of 1, without a tick at either end; chosen."""


class Widths(NamedTuple):
    """Widths of one quantity in the bins of another variable, in its unit, NaN where unknown.

    Attributes:
        full: Of full simulation ``(B,)``.
        full_error: Of these.
        flash: Of flash simulation ``(B,)``.
        flash_error: Of these.
    """

    full: np.ndarray
    full_error: np.ndarray
    flash: np.ndarray
    flash_error: np.ndarray

    def ratio(self) -> tuple[np.ndarray, np.ndarray]:
        """Flash over full, and its error from both ``(B,)``."""
        ratio = self.flash / self.full
        return ratio, ratio * np.hypot(self.full_error / self.full, self.flash_error / self.flash)


def plot_widths(
    widths: Mapping[str, Widths],
    edges: Sequence[float],
    *,
    dataset: str,
    against: str,
    of: str,
) -> Figure:
    """Widths with their errors, below their ratio where full simulation is known.

    Arguments:
        widths: Of at most two quantities, by name.
        edges: Of the bins ``(B + 1,)``.
        dataset: Name for the head line.
        against: Title of the horizontal axis.
        of: Title of the vertical axis.
    """
    known = any(np.isfinite(one.full).any() for one in widths.values())
    places = np.asarray(edges, dtype=float)
    with cms_style():
        figure, main, below = panels(ratio=known)
        for number, (name, one) in enumerate(widths.items()):
            where = _apart(places, number, len(widths))
            _full(main, places, one, LINES[number], f"{name}, full simulation")
            _points(main, where, one.flash, one.flash_error, number, f"{name}, flash simulation")
            if below is not None:
                _points(below, where, *one.ratio(), number)
        main.set_xlim(places[0], places[-1])
        main.set_ylim(0.0, main.get_ylim()[1] * 1.3)
        main.set_ylabel(of)
        legend(main, frameon=False, loc="best")
        label(main, dataset)
        lowest = main if below is None else below
        lowest.set_xlabel(against)
        if below is not None:
            below.axhline(1.0, color="black", linewidth=0.8)
            span = _range(widths.values())
            below.set_ylim(1.0 - span, 1.0 + span)
            below.set_ylabel("flash / full", fontsize=12)
    return figure


def _apart(edges: np.ndarray, number: int, of: int) -> np.ndarray:
    """Middle of the bins, moved to a side where two quantities share them."""
    middle = 0.5 * (edges[1:] + edges[:-1])
    return middle if of == 1 else middle + (2 * number - 1) * APART * np.diff(edges)


def _full(axes: Axes, edges: np.ndarray, one: Widths, line: object, name: str) -> None:
    if not np.isfinite(one.full).any():
        return
    axes.stairs(one.full, edges, baseline=None, color=FULL, linestyle=line, label=name)
    low, high = one.full - one.full_error, one.full + one.full_error
    axes.stairs(high, edges, baseline=low, color=FULL, fill=True, alpha=0.25, linewidth=0)


def _points(
    axes: Axes,
    where: np.ndarray,
    values: np.ndarray,
    errors: np.ndarray,
    number: int,
    name: str = "",
) -> None:
    axes.errorbar(
        where,
        values,
        errors,
        fmt=MARKERS[number],
        color=FLASH,
        mfc="white" if number else FLASH,
        markersize=5,
        label=name,
    )


def _range(widths: Iterable[Widths]) -> float:
    """How far from 1 the ratios with their errors reach."""
    far = [np.abs(ratio - 1.0) + error for ratio, error in (one.ratio() for one in widths)]
    reach = np.concatenate(far)
    reach = reach[np.isfinite(reach)]
    return float(np.clip(1.2 * reach.max(initial=0.0), LEAST_RANGE, MOST_RANGE))
