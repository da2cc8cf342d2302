"""Workers of somebody else's scheduler, whenever they come: only those that fit run chunks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from executors.dask.checks import Fitness
from executors.task import ChunkTask, PickledTask

__all__ = ["GuestTask", "Refusals", "UnfitWorker", "require_fitness", "unpacked"]

logger = logging.getLogger(__name__)
PAUSE = 1.0  # seconds before a worker that does not fit refuses a task; chosen
PATIENCE = 60.0  # seconds that a run goes on with no worker but those that do not fit; chosen


class UnfitWorker(RuntimeError):
    """A worker must not run what it was given; another one may."""


@dataclass(frozen=True)
class GuestTask:
    """A task with what a worker must prove before it runs it."""

    task: ChunkTask
    fitness: Fitness

    @cached_property
    def complaint(self) -> str | None:
        """What is wrong with this process, asked once."""
        return self.fitness.complaint()


def unpacked(pickled: PickledTask) -> ChunkTask:
    """The task of this process, whatever it is wrapped in; raises what unpickling raises."""
    found: ChunkTask | GuestTask = pickled.unpack()
    return found.task if isinstance(found, GuestTask) else found


def require_fitness(worker: Any, pickled: PickledTask, topic: str) -> None:
    """Refuse a Dask task that this worker must not run; say under ``topic`` why.

    The worker stays as it is: it belongs to somebody, and may be good for other work. It waits
    before, else it would refuse one task after the other while those that fit compute.

    Raises: UnfitWorker
    """
    try:
        found = pickled.unpack()
    except Exception:
        return  # whoever runs the chunk tells of it
    if not isinstance(found, GuestTask) or found.complaint is None:
        return
    worker.log_event(topic, {"refused": worker.contact_address, "reason": found.complaint})
    time.sleep(PAUSE)
    raise UnfitWorker(found.complaint)


class Refusals:
    """What the client hears of workers that do not fit.

    Where no other worker was there for `PATIENCE`, ``problem`` says so and those who called
    `on_problem` hear of it.

    Arguments:
        present: Addresses of the workers that are there.
    """

    def __init__(self, present: Callable[[], Collection[str]]) -> None:
        self.problem: str | None = None
        self._present = present
        self._reasons: dict[str, str] = {}
        self._listeners: list[Callable[[], None]] = []
        self._alone_since: float | None = None
        self._looked = 0.0

    def on_problem(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` once no worker fits."""
        self._listeners.append(listener)

    @property
    def placement(self) -> dict[str, Any]:
        """Options of tasks: to workers that did not refuse any, if there are such, else to all."""
        fit = sorted(set(self._present()) - set(self._reasons)) if self._reasons else []
        return {"workers": fit, "allow_other_workers": True} if fit else {}

    def heard(self, worker: str, reason: str) -> None:
        """A worker refused a task."""
        if worker not in self._reasons:
            logger.warning("worker %s gets no chunks: %s", worker, reason)
        self._reasons[worker] = reason
        now = time.monotonic()
        if now - self._looked < PAUSE or self.problem is not None:
            return
        self._looked = now
        if set(self._present()) - set(self._reasons):
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since > PATIENCE:
            self._give_up(f"no worker may run chunks; {worker}: {reason}")

    def _give_up(self, problem: str) -> None:
        self.problem = problem
        for listener in self._listeners:
            listener()
