"""What the command line prints of processors, plans and reports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.console import complain, results

if TYPE_CHECKING:
    from commands.preparation import Preparation

__all__ = ["list_processors", "print_plan", "print_summary"]

SHOWN_CHUNKS = 20  # chunks of a plan that --dry-run prints without --verbose; chosen


def print_summary(report: Mapping[str, Any], output: Path) -> None:
    """Print tables of a report, then what went wrong."""
    from executors.report.summary import (
        complaints,
        dataset_table,
        distance_tables,
        model_table,
        object_table,
    )

    console = results()
    tables = model_table(report), object_table(report), dataset_table(report)
    for table in (*distance_tables(report), *tables):
        if table is not None:
            console.print(table)
    for note in report["notes"]:
        console.print(f"note: {note}")
    for line in complaints(report):
        complain(line)
    state = report["exit"]
    files = sum(len(data["outputs"]) for data in report["datasets"].values())
    ended = "interrupted" if state["interrupted"] else f"exit status {state['status']}"
    console.print(f"{ended}; report.json, histograms.json and {files:,} output files in {output}")


def print_plan(preparation: Preparation, *, everything: bool) -> int:
    """Print what a run would do; the status tells whether every file can be read."""
    from executors.redaction import redact
    from executors.report.summary import plan_table

    plan, console = preparation.plan, results()
    shown = plan.items if everything else plan.items[:SHOWN_CHUNKS]
    rows = [
        (item.dataset, redact(item.filename), item.entrystart, item.entrystop) for item in shown
    ]
    console.print(plan_table(rows))
    if len(shown) < len(plan.items):
        console.print(f"... and {len(plan.items) - len(shown):,} more chunks (-v prints all)")
    settings = preparation.settings
    console.print(
        f"{plan.events:,} events in {len(plan.items):,} chunks of {plan.chunk_size:,}; "
        f"{settings.kind}, {settings.processes} workers x {settings.threads_per_worker} threads; "
        f"fileset {plan.fileset_hash[:16]}"
    )
    for note in plan.notes:
        console.print(redact(f"note: {note}"))
    for file in plan.unknown:
        complain(f"not planned: {file.reason}")
    if settings.kind == "htcondor":
        from executors.htcondor.job import submit_description

        described = submit_description(settings, watched=preparation.options.dask_report)
        print("\nEach worker is submitted as:\n" + described, end="")
    if not plan.items:
        return 4
    return 3 if plan.unknown else 0


def list_processors() -> int:
    """Describe the built-in processors with the keys of their configuration."""
    from executors.loading import load_class
    from processors import BUILTIN, describe

    console = results()
    for name, summary in describe().items():
        console.print(f"{name:12} {summary}")
        fields = load_class(name, BUILTIN).Config.model_fields
        for key, field in fields.items():
            console.print(f"{'':14}{key} [{_yaml(field.default)}]: {field.description}")
    console.print("The keys may stand in the file of --config; [default].")
    return 0


def _yaml(value: Any) -> str:
    """Write a default as YAML would."""
    return json.dumps(value)
