"""What a Dask worker of this machine does first: leave interrupts to the client."""

from __future__ import annotations

import signal
from typing import Any

__all__ = ["dask_setup"]


def dask_setup(worker: Any) -> None:
    """Ignore SIGINT, which a terminal sends to every process of its group."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
