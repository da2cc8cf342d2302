"""Report of a run: everything accounted for, in one JSON file that a schema describes."""

from __future__ import annotations

import importlib.metadata
import json
import math
import numbers
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from executors.atomic import write_atomically
from executors.errors import ConfigurationError, first_line
from executors.execution import RunResult
from executors.ledger import Ledger
from executors.plan import Plan
from executors.redaction import redact
from executors.report.dataset import dataset_section
from executors.report.models import models_section
from executors.report.notes import notes_of, unused_merge
from executors.results.output import output_problems
from executors.settings import ExecutorSettings

__all__ = [
    "NAME",
    "SCHEMA",
    "RunDescription",
    "build_report",
    "exit_status",
    "read_report",
    "restore_accumulator",
    "write_report",
]

NAME = "report.json"
SCHEMA = Path(__file__).with_name("report.schema.json")
VERSION = 1
_PACKAGES = (
    "flashbrew",
    "coffea",
    "awkward",
    "uproot",
    "hist",
    "numpy",
    "torch",
    "dask",
    "distributed",
)


@dataclass(frozen=True)
class RunDescription:
    """What was asked for, as the report repeats it.

    Arguments:
        processor: Name on the command line and class.
        arguments: The command line, by option.
        output: Directory of the run.
        seed: Seed of every random number.
        max_failed_fraction: Fraction of failed chunks that is still exit status 3.
        provenance: What the processor says of itself: ``configuration``, ``bundles``, ``notes``.
        started: Start of the run.
    """

    processor: Mapping[str, str]
    arguments: Mapping[str, Any]
    output: Path
    seed: int
    max_failed_fraction: float = 1.0
    provenance: Mapping[str, Any] = field(default_factory=dict)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))


def exit_status(result: RunResult, max_failed_fraction: float = 1.0) -> int:
    """Exit status of a run: 0, 1, 3, 4 or 130, as the command line promises them."""
    if result.interrupted:
        return 130
    if result.error is not None:
        return 1
    fraction = result.ledger.failed_fraction()
    if not result.ledger.tally().chunks_done or fraction > max_failed_fraction:
        return 4
    return 3 if fraction else 0


def build_report(
    description: RunDescription,
    plan: Plan,
    settings: ExecutorSettings,
    result: RunResult,
    *,
    validation: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    failed: bool = False,
    resumption: Mapping[str, Any] | None = None,
    finished: bool = True,
    joined: Mapping[str, Mapping[str, int]] | None = None,
) -> dict[str, Any]:
    """Put together the report; `report.schema.json` describes every key.

    Arguments:
        validation: Distances and whatever else the processor found in the merged result.
        notes: Sentences for the reader.
        failed: Whether something went wrong after the last chunk (exit status 1). An output that
            is not there, or was written twice, counts as that.
        resumption: What was found of an earlier run and why the rest was not used, None for a run
            that resumes nothing.
        finished: Whether the run has ended.
        joined: Counts of files, events and chunks joined, by dataset.
    """
    provenance = description.provenance
    bundles = list(provenance.get("bundles", []))
    datasets = {
        name: dataset_section(
            result.ledger.of(name),
            result.accumulator.get(name, {}),
            files=plan.files[name],
            whole=name not in plan.partial,
            output=description.output,
        )
        | {"merged": dict((joined or {}).get(name, {})) or None}
        for name in plan.datasets
    }
    listed = [path for data in result.accumulator.values() for path in data["outputs"]]
    problems = output_problems(listed, description.output)
    broken = (failed or bool(problems)) and not result.interrupted
    report = {
        "schema": VERSION,
        "exit": {
            "status": 1 if broken else exit_status(result, description.max_failed_fraction),
            "finished": finished,
            "interrupted": result.interrupted,
            "error": f"{type(result.error).__name__}: {first_line(result.error)}"
            if result.error is not None
            else None,
            "max_failed_fraction": description.max_failed_fraction,
            "failed_fraction": result.ledger.failed_fraction(),
        },
        "processor": {
            **description.processor,
            "configuration": dict(provenance.get("configuration", {})),
        },
        "arguments": dict(description.arguments),
        "seed": description.seed,
        "bundles": bundles,
        "models": models_section(bundles, result.accumulator.values()),
        "versions": versions(),
        "executor": {
            "kind": settings.kind,
            "workers": None if settings.scheduler else settings.processes,
            "threads_per_worker": settings.threads_per_worker,
            "scheduler": settings.scheduler,
            "hosts": sorted({record.host for record in result.ledger.records if record.host}),
        },
        "fileset": {"sha256": plan.fileset_hash, "chunk_size": plan.chunk_size},
        "time": {
            "started": description.started.isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": result.seconds,
            "events_per_second": _computed(result.ledger) / max(result.seconds, 1e-9),
        },
        "resume": resumption,
        "duplicates": plan.duplicates,
        "datasets": datasets,
        "validation": validation,
        "copied": None,
        "notes": [
            *problems,
            *plan.notes,
            *provenance.get("notes", []),
            *notes_of(datasets, validation or {}),
            *(unused_merge(description.arguments, datasets) if finished else ()),
            *_unstored(result),
            *notes,
        ],
    }
    cleaned: dict[str, Any] = _plain(report)
    return cleaned


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report as strict JSON, completely or not at all."""
    write_atomically(path, json.dumps(_plain(report), indent=1, allow_nan=False) + "\n")


def read_report(directory: Path) -> dict[str, Any]:
    """Read the report of a run.

    Raises: ConfigurationError where there is none, or it is not what `SCHEMA` describes.
    """
    path = directory / NAME if directory.is_dir() else directory
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"no report at {path} ({error.strerror}); name the --output directory of a run"
        raise ConfigurationError(msg) from error
    except ValueError as error:
        msg = f"{path} is damaged: {error}"
        raise ConfigurationError(msg) from error
    if not isinstance(report, dict) or report.get("schema") != VERSION:
        msg = f"{path} is not a run report of version {VERSION}; run the processor again"
        raise ConfigurationError(msg)
    problem = _problem(report)
    if problem is not None:
        msg = f"{path} is damaged: {problem}; run the processor again"
        raise ConfigurationError(msg)
    return report


def _problem(report: Mapping[str, Any]) -> str | None:
    """Where a report is not what the schema describes, None where it is."""
    # a run needs it for an earlier report alone
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    found = best_match(Draft202012Validator(json.loads(SCHEMA.read_text())).iter_errors(report))
    if found is None:
        return None
    place = ".".join(str(part) for part in found.absolute_path)
    said = found.message if len(found.message) < 200 else f"{found.validator} does not hold"
    return f"{place}: {said}" if place else str(said)


def restore_accumulator(
    report: Mapping[str, Any], histograms: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Rebuild the merged result of a run from its report and its histograms."""
    restored: dict[str, Any] = {}
    for name, data in report["datasets"].items():
        if name not in histograms:
            continue
        counters = dict(data["counters"])
        counters |= {f"events.{key}": data["events"][key] for key in ("read", "written")}
        for section in ("sum_genweight", "seconds", "micro_batches", "models"):
            values = data.get(section, {}).items()
            counters |= {f"{section}.{key}": value for key, value in values if value is not None}
        restored[name] = {
            "hists": dict(histograms[name]),
            "counters": counters,
            "outputs": list(data["outputs"]),
        }
    return restored


def versions() -> dict[str, str | None]:
    """Versions of what made the result, None for what is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def _computed(ledger: Ledger) -> int:
    """Events done by this run itself."""
    tally = ledger.tally()
    return tally.events_done - tally.events_reused


def _unstored(result: RunResult) -> list[str]:
    """Sentences for results that could not be kept."""
    return [
        f"the results of {count} chunks could not be stored ({why}); --resume would compute them "
        "again"
        for why, count in result.unstored.items()
    ]


def _plain(value: Any) -> Any:
    """Reduce a value to strict JSON: NumPy numbers unwrapped, what is not finite becomes null.

    Credentials in URLs are left out.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, Sequence | set | frozenset):
        return [_plain(item) for item in value]
    return redact(str(value))
