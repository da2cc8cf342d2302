"""Tables of a run for a terminal, drawn from its report alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from executors.report.journal import DatasetProgress

__all__ = [
    "complaints",
    "dataset_table",
    "distance_tables",
    "model_table",
    "object_table",
    "plan_table",
    "progress_complaints",
    "progress_table",
]

_COLUMNS = ("events", "written", "chunks", "reused", "retried", "failed")
MAX_COMPLAINTS = 10  # distinct reasons spelt out; chosen, the report has all of them


def dataset_table(report: Mapping[str, Any]) -> Table:
    """One row per dataset: events and chunks done of those planned, what is missing, speed."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("dataset", overflow="fold")
    for name in (*_COLUMNS, "unknown files", "events/s"):
        table.add_column(name, justify="right")
    seconds = report["time"]["seconds"]
    for name, data in report["datasets"].items():
        events, chunks = data["events"], data["chunks"]
        done = events["planned"] - events["failed"]
        _row(
            table,
            name,
            _of(done, events["planned"]),
            f"{events['written']:,.0f}",
            _of(chunks["done"], chunks["planned"]),
            f"{chunks.get('reused', 0):,}",
            f"{chunks['retried']:,}",
            f"{chunks['failed']:,}",
            f"{data['files']['unknown']:,}",
            f"{done / seconds:,.0f}" if seconds and not chunks.get("reused") else "-",
        )
    return table


def progress_table(standing: Mapping[str, DatasetProgress]) -> Table:
    """One row per dataset of a run that has not ended: what is done of what was planned."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("dataset", overflow="fold")
    for name in (*(name for name in _COLUMNS if name != "written"), "unknown files", "events/s"):
        table.add_column(name, justify="right")
    for name, one in standing.items():
        _row(
            table,
            name,
            _of(one.events_done, one.events),
            _of(one.done, one.chunks),
            f"{one.reused:,}",
            f"{one.retried:,}",
            f"{one.failed:,}",
            f"{one.unknown:,}",
            f"{one.computed / one.seconds:,.0f}" if one.seconds else "-",
        )
    return table


def progress_complaints(standing: Mapping[str, DatasetProgress]) -> list[str]:
    """Why chunks of a run that has not ended failed, one sentence per distinct reason."""
    reasons: dict[str, list[str]] = {}
    for one in standing.values():
        for reason, places in one.reasons.items():
            reasons.setdefault(reason, []).extend(places)
    return _shortened(_told(reasons))


def object_table(report: Mapping[str, Any]) -> Table | None:
    """One row per dataset and collection: objects in and out; None where nobody counted them."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("dataset", "objects"):
        table.add_column(name, overflow="fold")
    for name in ("in", "out"):
        table.add_column(name, justify="right")
    for dataset, data in report["datasets"].items():
        for collection, pair in _objects(data["counters"]).items():
            counts = (f"{pair[key]:,.0f}" if key in pair else "-" for key in ("in", "out"))
            _row(table, dataset, collection, *counts)
    return table if table.row_count else None


def model_table(report: Mapping[str, Any]) -> Table | None:
    """One row per model and stage: what it cost, how fast; None where no model did anything."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("model", "stage"):
        table.add_column(name, overflow="fold")
    for name in ("loads", "calls", "batches", "fill", "seconds", "samples/s"):
        table.add_column(name, justify="right")
    for model in report.get("models", ()):
        for stage, work in model["stages"].items():
            _row(
                table,
                model["name"] or model["digest"][:12],
                stage,
                f"{model['loads']:,}",
                f"{work['calls']:,}",
                f"{work['batches']:,}",
                "-" if work["fill"] is None else f"{work['fill']:.1%}",
                f"{work['seconds']:,.1f}",
                "-" if work["seconds"] == 0 else f"{work['samples_per_second']:,.0f}",
            )
    return table if table.row_count else None


def distance_tables(report: Mapping[str, Any]) -> list[Table]:
    """The rows of the validation's distances, one table per set of columns."""
    rows = (report.get("validation") or {}).get("distances") or []
    grouped: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if isinstance(row, Mapping):
            grouped.setdefault(tuple(row), []).append(row)
    return [_table(columns, group) for columns, group in grouped.items()]


def complaints(report: Mapping[str, Any]) -> list[str]:
    """What went wrong, one sentence per distinct reason, the most frequent first."""
    lines: list[str] = []
    reasons: dict[str, list[str]] = {}
    for data in report["datasets"].values():
        lines += [f"not processed: {file['reason']}" for file in data["unknown_files"]]
        for failure in data["failures"]:
            place = f"{failure['file']} entries {failure['start']}-{failure['stop']}"
            reasons.setdefault(failure["reason"], []).append(place)
    return _shortened([*lines, *_told(reasons)])


def plan_table(rows: Iterable[tuple[str, str, int, int]]) -> Table:
    """Chunks of a plan: dataset, file, start, stop."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("dataset", overflow="fold")
    table.add_column("file", overflow="fold")
    table.add_column("start", justify="right")
    table.add_column("stop", justify="right")
    for dataset, file, start, stop in rows:
        _row(table, dataset, file, f"{start:,}", f"{stop:,}")
    return table


def _told(reasons: Mapping[str, list[str]]) -> list[str]:
    """Sentences for reasons with their places, the most frequent first."""
    lines = []
    for reason, places in sorted(reasons.items(), key=lambda item: -len(item[1])):
        more = f" and {len(places) - 1} more" if len(places) > 1 else ""
        chunks = "chunk" if len(places) == 1 else "chunks"
        lines.append(f"{len(places)} {chunks} failed: {reason} [{places[0]}{more}]")
    return lines


def _shortened(lines: list[str]) -> list[str]:
    rest = len(lines) - MAX_COMPLAINTS
    return lines if rest <= 0 else [*lines[:MAX_COMPLAINTS], f"and {rest} more: see report.json"]


def _of(done: int, planned: int) -> str:
    """``done of planned``, or one number where they agree."""
    return f"{done:,}" if done == planned else f"{done:,} of {planned:,}"


def _objects(counters: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Counters ``objects.<collection>.in|out``, by collection."""
    pairs: dict[str, dict[str, float]] = {}
    for name, value in counters.items():
        parts = name.split(".")
        if len(parts) == 3 and parts[0] == "objects" and parts[2] in ("in", "out"):
            pairs.setdefault(parts[1], {})[parts[2]] = value
    return pairs


def _table(columns: tuple[str, ...], rows: Iterable[Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in columns:
        table.add_column(
            name, justify="left" if name in ("dataset", "object", "variable") else "right"
        )
    for row in rows:
        _row(table, *(_cell(row[name]) for name in columns))
    return table


def _row(table: Table, *cells: str) -> None:
    """Add a row whose cells are shown as they are (a name may hold brackets)."""
    table.add_row(*map(Text, cells))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else str(value)
