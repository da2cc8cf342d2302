"""How often the Dask processes that a run starts look at themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["as_environment", "self_watch"]

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


def as_environment(configuration: Mapping[str, Any]) -> dict[str, str]:
    """Environment variables from which a Dask process takes a configuration.

    Example:
        >>> as_environment({"distributed.admin.system-monitor.interval": "5s"})
        {'DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL': '5s'}
    """
    return {
        "DASK_" + name.upper().replace(".", "__").replace("-", "_"): str(value)
        for name, value in configuration.items()
    }
