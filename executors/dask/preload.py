"""What a Dask worker of this machine does first: leave interrupts to the client, end quickly."""

from __future__ import annotations

import atexit
import gc
import signal
from typing import Any

__all__ = ["dask_setup"]


def dask_setup(worker: Any) -> None:
    """Ignore SIGINT, which a terminal sends to every process of its group.

    In the end nothing looks for garbage among all that was imported: the client waits for that.
    """
    del worker
    atexit.register(gc.freeze)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
