"""Work of a resident model, counted where it is done: numbers for reports, never for results."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Work"]


@dataclass(frozen=True)
class Work:
    """What calls cost; every number adds.

    A batch that several calls share counts with the call whose rows come first in it, so that the
    sum over calls is what was computed.

    Attributes:
        calls: Calls from threads that process data.
        batches: Batches that threads of the model computed.
        rows: Rows in them.
        padded: Rows that only filled them up.
        samples: Rows that came out: one per row, or all samples of all contexts of a flow of one
            feature, whose network's rows are the contexts.
        seconds: Time in batches, summed over the threads of the model.

    Example:
        >>> Work(calls=1, rows=3) + Work(calls=1, seconds=0.5)
        Work(calls=2, batches=0, rows=3, padded=0, samples=0, seconds=0.5)
    """

    calls: int = 0
    batches: int = 0
    rows: int = 0
    padded: int = 0
    samples: int = 0
    seconds: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.calls + other.calls,
            self.batches + other.batches,
            self.rows + other.rows,
            self.padded + other.padded,
            self.samples + other.samples,
            self.seconds + other.seconds,
        )
