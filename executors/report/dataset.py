"""Section of one dataset in the report of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from executors.ledger import ChunkRecord, Ledger
from executors.report.models import PREFIX
from executors.results.output import relative_output

__all__ = ["dataset_section"]

_EVENTS = ("events.read", "events.written")
_WEIGHTS = ("sum_genweight.read", "sum_genweight.written", "sum_genweight.input")


def dataset_section(
    ledger: Ledger, content: Mapping[str, Any], *, files: int, whole: bool, output: Path
) -> dict[str, Any]:
    """Section of one dataset."""
    tally = ledger.tally()
    counters = {str(name): value for name, value in content.get("counters", {}).items()}
    seconds = _below("seconds.", counters)
    unknown_events = [file.events for file in ledger.unknown]
    known = (*_EVENTS, *_WEIGHTS)
    prefixes = ("seconds.", "micro_batches.", PREFIX)
    return {
        "files": {"planned": files, "unknown": tally.files_unknown},
        "events": {
            "planned": tally.events_planned,
            "read": counters.get("events.read", tally.events_done),
            "written": counters.get("events.written", 0),
            "failed": tally.events_failed,
            "unknown": None
            if None in unknown_events
            else sum(events or 0 for events in unknown_events),
        },
        "sum_genweight": {name.rpartition(".")[2]: counters.get(name) for name in _WEIGHTS},
        "normalisation_complete": whole and not ledger.unknown and not ledger.failed,
        "chunks": {
            "planned": tally.chunks_planned,
            "done": tally.chunks_done,
            "reused": tally.chunks_reused,
            "retried": tally.chunks_retried,
            "failed": tally.chunks_failed,
        },
        "recoveries": [
            {
                **_place(record),
                "reason": record.recovered,
                "attempts": record.attempts,
                "host": record.host,
            }
            for record in ledger.records
            if record.recovered
        ],
        "failures": [_failure(record) for record in ledger.failed],
        "unknown_files": [
            {"file": file.file, "tree": file.tree, "reason": file.reason} for file in ledger.unknown
        ],
        "seconds": seconds,
        "events_per_second": {
            stage: tally.events_done / value for stage, value in seconds.items() if value > 0
        },
        "micro_batches": _below("micro_batches.", counters),
        "models": _below(PREFIX, counters),
        "counters": {
            name: value
            for name, value in sorted(counters.items())
            if name not in known and not name.startswith(prefixes)
        },
        "outputs": sorted(relative_output(path, output) for path in content.get("outputs", [])),
    }


def _failure(record: ChunkRecord) -> dict[str, Any]:
    """Description of one failed chunk."""
    return {
        **_place(record),
        "kind": record.failure,
        "reason": record.reason,
        "errors": [{"type": link.type, "message": link.message} for link in record.errors],
        "attempts": record.attempts,
        "host": record.host,
    }


def _place(record: ChunkRecord) -> dict[str, Any]:
    """Where a chunk lies."""
    return {
        "file": record.file,
        "uuid": record.uuid,
        "tree": record.tree,
        "start": record.start,
        "stop": record.stop,
    }


def _below(prefix: str, counters: Mapping[str, Any]) -> dict[str, Any]:
    """Counters whose name starts with ``prefix``, by the rest of the name."""
    return {
        name.removeprefix(prefix): value
        for name, value in sorted(counters.items())
        if name.startswith(prefix)
    }
