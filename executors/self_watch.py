"""How often the processes of a Dask cluster look at themselves."""

from __future__ import annotations

from typing import Any

__all__ = ["self_watch"]

_SELDOM = {
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.tick.interval": "1s",
    "distributed.worker.profile.enabled": False,
}


def self_watch(often: bool) -> dict[str, Any]:
    """Dask's configuration for it.

    As delivered each process spends 5 % of a core on it, idle or not; seldom is 1 %. The price are
    the profile and the fine lines of load in Dask's dashboard and report.

    Arguments:
        often: As Dask is delivered.
    """
    return {} if often else dict(_SELDOM)
