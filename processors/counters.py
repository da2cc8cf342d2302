"""Numbers that are counted while a chunk is processed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Protocol

from flows.work import Work

__all__ = ["Counters"]


class Loaded(Protocol):
    """What is needed of :class:`flows.resident.ResidentModel`."""

    digest: str

    def claim_load(self) -> int:
        """1 to the first who asks in this process."""
        ...


class Counters(Counter[str]):
    """Numbers of a chunk by name, with a stopwatch per stage."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the wall time of the body to ``seconds.<name>``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self[f"seconds.{name}"] += time.perf_counter() - start

    def model(self, digest: str, work: Mapping[str, Work]) -> None:
        """Add what a resident model did to ``models.<digest>.<stage>.<number>``."""
        for stage, done in work.items():
            for name, value in asdict(done).items():
                self[f"models.{digest}.{stage}.{name}"] += value

    def loads(self, models: Iterable[Loaded]) -> None:
        """Count models that were loaded and not counted yet; a chunk asks when it is done."""
        for model in models:
            self[f"models.{model.digest}.loads"] += model.claim_load()
