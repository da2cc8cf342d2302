"""A run on workers that are not its own: what they need, what is left behind."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import distributed

from executors.errors import first_line
from executors.inputs.kept_files import close_kept_files
from executors.inputs.remote import client_settings, use_settings

__all__ = ["GuestPlugin", "guest_workers"]

logger = logging.getLogger(__name__)


class GuestPlugin(distributed.WorkerPlugin):  # type: ignore[misc]  # distributed is not typed
    """Worker plugin of one run, for workers of somebody else's scheduler.

    They get the settings of XRootD's client that a run's own workers have, and keep them. Files
    that stayed open are closed when the run has ended.

    Arguments:
        run: As for `kept_file`.
    """

    def __init__(self, run: str) -> None:
        self.run, self.name = run, f"flashbrew-{run}"
        self.settings = client_settings()

    def setup(self, worker: Any) -> None:
        """Set what the worker's own environment does not."""
        del worker
        use_settings(self.settings)

    def teardown(self, worker: Any) -> None:
        """Close files."""
        del worker
        close_kept_files(self.run, everywhere=True)


@contextmanager
def guest_workers(client: distributed.Client, run: str) -> Iterator[None]:
    """Have a `GuestPlugin` on all workers, those that come meanwhile too."""
    plugin = GuestPlugin(run)
    client.register_plugin(plugin)
    try:
        yield
    finally:
        try:
            if client.status == "running":
                client.unregister_worker_plugin(plugin.name)
        except Exception as error:  # what is done is done, whoever of the workers is gone
            logger.debug("workers were not left as they were: %s", first_line(error))
