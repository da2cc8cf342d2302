"""Run a processor over files, report what became of every chunk."""

from __future__ import annotations

import argparse
import functools
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.console import complain, configure, results
from commands.options import parse
from commands.preparation import Preparation, prepare
from executors.errors import ConfigurationError, first_line

if TYPE_CHECKING:
    from executors.execution import RunResult

__all__ = ["main"]

SHOWN_CHUNKS = 20  # chunks of a plan that --dry-run prints without --verbose; chosen


def main(argv: Sequence[str]) -> int:
    """Run and return the exit status."""
    options = parse(argv)
    configure(options.verbose)
    if options.list:
        return _list()
    try:
        with _terminable():
            return _run(options)
    except ConfigurationError as error:
        complain(error, verbose=options.verbose)
        return 2
    except KeyboardInterrupt:
        complain("interrupted outside the processing of chunks; there is no report")
        return 130
    except Exception as error:
        text = f"internal error: {type(error).__name__}: {first_line(error)} (-v shows where)"
        complain(error if options.verbose else text, verbose=options.verbose)
        return 1


def _run(options: argparse.Namespace) -> int:
    """Prepare, then print the plan or carry it out."""
    try:
        preparation = prepare(options)
    except (ValueError, OSError) as error:
        raise ConfigurationError(error) from error
    if options.dry_run:
        return _print_plan(preparation, everything=options.verbose)
    from executors.lock import OutputLock
    from executors.output import prepare_output

    inputs = [item.filename for item in preparation.plan.items]
    output = prepare_output(options.output, inputs)
    with OutputLock(output):
        return _execute(options, preparation, output)


def _execute(options: argparse.Namespace, preparation: Preparation, output: Path) -> int:
    """Carry out a plan, write what came of it, print the summary."""
    from executors.execution import execute
    from executors.output import clear_results, probe_writable, sweep
    from executors.progress import ConsoleProgress
    from executors.report import NAME as REPORT
    from executors.report import RunDescription, build_report, write_report

    processor, plan, settings = preparation.processor, preparation.plan, preparation.settings
    provenance = getattr(processor, "provenance", dict)
    description = RunDescription(
        processor={
            "name": options.processor,
            "class": f"{type(processor).__module__}:{type(processor).__qualname__}",
        },
        arguments=vars(options),
        output=output,
        seed=options.seed,
        max_failed_fraction=options.max_failed_fraction,
        provenance=provenance(),
    )
    with ConsoleProgress(plan.events, len(plan.items), options.processor) as progress:
        result = execute(
            plan,
            processor,
            settings,
            listener=progress,
            probe=functools.partial(probe_writable, output),
            ready=functools.partial(clear_results, output),
        )
    validation, problem = _finish(processor, result, output, verbose=options.verbose)
    report = build_report(
        description,
        plan,
        settings,
        result,
        validation=validation,
        notes=[problem] if problem else [],
        failed=bool(problem) and not result.interrupted,
    )
    write_report(output / REPORT, report)
    sweep(output, {name for data in report["datasets"].values() for name in data["outputs"]})
    print_summary(report, output)
    if result.error is not None and not result.interrupted:
        complain(result.error, verbose=options.verbose)
    status: int = report["exit"]["status"]
    return status


def _finish(
    processor: Any, result: RunResult, output: Path, *, verbose: bool
) -> tuple[Mapping[str, Any] | None, str]:
    """Write and look at the merged histograms; a failure is told, the rest of the run is kept."""
    from executors.histograms import NAME, write_histograms

    finish = getattr(processor, "finish", None)
    try:
        write_histograms(output / NAME, result.accumulator)
        if finish is None or not result.accumulator:
            return None, ""
        if result.interrupted:
            return None, "interrupted: nothing was compared or drawn; `report --redraw` does it"
        return finish(result.accumulator, output), ""
    except Exception as error:
        problem = f"comparing and drawing failed: {type(error).__name__}: {first_line(error)}"
        complain(error if verbose else problem, verbose=verbose)
        return None, problem


def print_summary(report: Mapping[str, Any], output: Path) -> None:
    """Print tables of a report, then what went wrong."""
    from executors.summary import complaints, dataset_table, distance_tables, object_table

    console = results()
    for table in (*distance_tables(report), object_table(report), dataset_table(report)):
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


def _print_plan(preparation: Preparation, *, everything: bool) -> int:
    """Print what a run would do; the status tells whether every file can be read."""
    from executors.summary import plan_table

    plan, console = preparation.plan, results()
    shown = plan.items if everything else plan.items[:SHOWN_CHUNKS]
    rows = [(item.dataset, item.filename, item.entrystart, item.entrystop) for item in shown]
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
        console.print(f"note: {note}")
    for file in plan.unknown:
        complain(f"not planned: {file.reason}")
    if not plan.items:
        return 4
    return 3 if plan.unknown else 0


def _list() -> int:
    """Describe the built-in processors."""
    from processors import describe

    console = results()
    for name, summary in describe().items():
        console.print(f"{name:12} {summary}")
    return 0


@contextmanager
def _terminable() -> Iterator[None]:
    """Treat SIGTERM, which batch systems send, like Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
