"""Figures drawn into their files by several processes at a time."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import loky
from matplotlib.figure import Figure

__all__ = ["save_figures"]

SHARE = 20
"""Figures worth a process: it takes as long to start as ten take to be drawn (measured)."""


def save_figures(figures: Mapping[Path, Callable[[], Figure]]) -> None:
    """Draw figures, in as many processes as there are cores where there are enough of them.

    Matplotlib draws in one thread at a time, 0.1 to 0.4 s each.

    Arguments:
        figures: Function that draws it, by the file that it goes to; picklable.
    Raises: what the first figure raised that could not be drawn or written.
    """
    processes = min(loky.cpu_count(), len(figures) // SHARE)
    if processes < 2:
        for path, draw in figures.items():
            _save(path, draw)
        return
    # Ctrl-C is this process's business alone
    ignored = (signal.SIGINT, signal.SIG_IGN)
    pool = loky.ProcessPoolExecutor(processes, initializer=signal.signal, initargs=ignored)
    try:
        for _ in pool.map(_save, figures, figures.values()):
            pass
    finally:
        pool.shutdown(kill_workers=True)


def _save(path: Path, draw: Callable[[], Figure]) -> None:
    draw().savefig(path)
