"""Numbers that are counted while a chunk is processed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Counters"]


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
