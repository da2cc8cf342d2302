"""Loss curves of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from processors.plots.style import FLASH, FULL, cms_style

__all__ = ["plot_loss"]


def plot_loss(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Training with validation loss of every network, side by side.

    Arguments:
        curves: Losses per epoch (training, validation) by network.
    """
    with cms_style():
        figure = Figure(figsize=(4.6 * max(len(curves), 1), 4.2), layout="tight")
        grid = figure.subplots(1, max(len(curves), 1), squeeze=False)[0]
        for axes, (name, (train, validation)) in zip(grid, curves.items(), strict=False):
            epochs = range(1, len(train) + 1)
            axes.plot(epochs, train, color=FULL, label="training")
            axes.plot(
                range(1, len(validation) + 1),
                validation,
                color=FLASH,
                linestyle="--",
                label="validation",
            )
            axes.set_title(name, fontsize=14)
            axes.set_xlabel("epoch")
            axes.legend(frameon=False)
        grid[0].set_ylabel("loss")
    return figure
