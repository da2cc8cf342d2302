"""Sentences of a report for what a reader must know of its numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["COUNTED", "notes_of", "unused_merge"]

COUNTED: dict[str, str] = {
    r"events\.weight_missing": "{n:,} events have no generator weight and count with weight 1",
    r"events\.run_missing": "{n:,} events have no run number; 0 was taken",
    r"events\.lumi_missing": "{n:,} events have no luminosity block; 0 was taken",
    r"events\.repeated": "{n:,} events occur more than once; copies share their noise, so they are "
    "not independent",
    r"events\.repeated_in_chunk": "{n:,} events occur more than once inside a chunk",
    r"events\.without_content": "{n:,} events are empty; they are not among those that occur more "
    "than once",
    r"events\.digested_identity": "{n:,} events have no number; a digest of their content was "
    "taken",
    r"events\.pileup_drawn": "{n:,} events have no pile-up columns; they were drawn",
    r"(.*)\.nonfinite_conditions": "{n:,} rows of {0} had conditions that are no numbers; they "
    "were not simulated",
    r"(.*clip.*)": "{n:,} values were clipped to what their column can hold ({0})",
}
"""Counter of a dataset (pattern of the whole name) to what it means where it is not zero."""
MISSING = "chunks or files are missing; what is here is of the others alone"
INCOMPLETE = (
    "the normalisation is incomplete, chunks or files are missing; normalise by sum_genweight.read "
    "of the report, not by Runs"
)


def notes_of(
    datasets: Mapping[str, Mapping[str, Any]], validation: Mapping[str, Any]
) -> Iterator[str]:
    """Notes for every dataset section of a report, in order.

    Arguments:
        datasets: Sections of the report.
        validation: Its section ``validation``; ``repeated_events`` counts, by dataset, events that
            occur more than once, None where nobody looked.
    """
    several = validation.get("repeated_events")
    several = several if isinstance(several, Mapping) else {}
    for name, data in datasets.items():
        counters = dict(data["counters"])
        if name in several and several[name] is None:
            yield f"{name}: nobody looked for events that occur more than once"
        elif name in several:
            counters["events.repeated"] = several[name]
        if "events.repeated" in counters:
            # that looked across chunks, a chunk's own counter inside it alone
            counters.pop("events.repeated_in_chunk", None)
        for sentence in _counted(counters):
            yield f"{name}: {sentence}"
        yield from _normalisation(name, data)


def unused_merge(
    arguments: Mapping[str, Any], datasets: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """A note where files were to be joined and the processor wrote none.

    Arguments:
        arguments: Section of the report.
        datasets: Section of the report.
    """
    mode = arguments.get("merge") or "none"
    done = any(data["chunks"]["done"] for data in datasets.values())
    if mode != "none" and done and not any(data["outputs"] for data in datasets.values()):
        yield f"--merge {mode} joined nothing: the processor wrote no files of events"


def _counted(counters: Mapping[str, Any]) -> Iterator[str]:
    for pattern, sentence in COUNTED.items():
        for counter, value in counters.items():
            found = re.fullmatch(pattern, counter)
            if found and value:
                yield sentence.format(*found.groups(), n=value)


def _normalisation(name: str, data: Mapping[str, Any]) -> Iterator[str]:
    """Tell what is missing; of sums of weights only where the processor read weights."""
    weighted = data["sum_genweight"]["read"] is not None
    if data["chunks"]["failed"] or data["files"]["unknown"]:
        yield f"{name}: {INCOMPLETE if weighted else MISSING}"
    elif weighted and not data["normalisation_complete"]:
        yield (
            f"{name}: sums of weights in Runs count whole files, of which parts were read; "
            "normalise by sum_genweight.read of the report"
        )
