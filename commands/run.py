"""Run a processor over files, report what became of every chunk."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.console import complain, configure, results
from commands.executor_options import execution_settings
from commands.interrupts import Interrupts
from commands.preparation import Preparation, prepare
from commands.printing import list_processors, print_plan, print_summary
from commands.run_options import parse
from executors.errors import ConfigurationError, first_line

if TYPE_CHECKING:
    from commands.run_report import RunReport
    from executors.execution import RunResult
    from executors.report.build import RunDescription
    from executors.results.lock import OutputLock
    from executors.results.merging import MergedFiles
    from executors.results.state import StateStore
    from executors.resume import Resumption

__all__ = ["main"]

DASK_REPORT = "dask-report.html"
BEFORE = "interrupted before the first chunk; nothing is lost, give the same command again"
AFTER = "interrupted; what is done is kept: the same command with --resume does the rest"
UNJOINED = "the event files of the chunks are not joined; --resume --merge {mode} does it"


def main(argv: Sequence[str]) -> int:
    """Run and return the exit status."""
    options = parse(argv)
    configure(options.verbose)
    if options.list:
        return list_processors()
    try:
        with Interrupts().handled() as interrupts:
            return _run(options, interrupts)
    except ConfigurationError as error:
        complain(error, verbose=options.verbose)
        return 2
    except KeyboardInterrupt as stopped:
        complain(str(stopped) or BEFORE)
        _account_for(stopped, options)
        return 130
    except OSError as error:
        complain(f"{error}; what is done is kept: --resume goes on", verbose=options.verbose)
        _account_for(error, options)
        return 1
    except Exception as error:
        text = f"internal error: {type(error).__name__}: {first_line(error)} (-v shows where)"
        complain(error if options.verbose else text, verbose=options.verbose)
        _account_for(error, options)
        return 1


def _run(options: argparse.Namespace, interrupts: Interrupts) -> int:
    """Prepare, then print the plan or carry it out."""
    try:
        preparation = prepare(options)
    except (ValueError, OSError) as error:
        raise ConfigurationError(error) from error
    if options.dry_run:
        return print_plan(preparation, everything=options.verbose)
    from executors.results.lock import OutputLock
    from executors.results.output import prepare_output

    inputs = [item.filename for item in preparation.plan.items]
    output = prepare_output(preparation.options.output, inputs)
    with OutputLock(output) as lock:
        interrupts.at_once(lock.release)
        if preparation.destination is not None:
            preparation.destination.probe(output)
        return _execute(preparation, output, lock)


def _execute(preparation: Preparation, output: Path, lock: OutputLock) -> int:
    """Carry out a plan, write what came of it, print the summary."""
    from commands.run_report import RunReport
    from executors.dask.checks import OutputProbe
    from executors.earlier import earlier_report
    from executors.execution import Storage, execute
    from executors.progress import ConsoleProgress
    from executors.report.journal import Journal
    from executors.results.merging import MergedFiles
    from executors.results.state import StateStore

    processor, plan, settings = preparation.processor, preparation.plan, preparation.settings
    verbose = preparation.options.verbose
    description = _describe(preparation.options, output, processor, preparation.provenance)
    earlier, store = earlier_report(output), StateStore(output, preparation.identity)
    merged = MergedFiles.read(output)
    resumption = _resume(preparation, store, merged) if preparation.options.resume else None
    journal = Journal(output, plan)
    storage = Storage(store, resumption.records if resumption else {}, journal)
    account = RunReport(
        description,
        plan,
        settings,
        earlier,
        lock=lock,
        store=store,
        merged=merged,
        resumption=resumption,
    )

    def begin() -> None:
        account.begin()
        journal.begin()

    try:
        with account, journal:
            name = description.processor["name"]
            with ConsoleProgress(plan.events, len(plan.items), name) as bar:
                result = execute(
                    plan,
                    processor,
                    settings,
                    listener=bar,
                    probe=OutputProbe(output),
                    ready=begin,
                    retry=preparation.retry,
                    storage=storage,
                    performance=output / DASK_REPORT if preparation.options.dask_report else None,
                    tell=bar.say,
                )
            if result.error is not None and not account.begun:
                raise result.error
            report = _conclude(account, processor, result, merged, preparation)
        if result.error is None and not report["exit"]["interrupted"]:
            report = _tidy(preparation, output, lock, report)
        print_summary(report, output)
    except KeyboardInterrupt as stopped:
        if account.begun:
            raise KeyboardInterrupt(AFTER) from stopped
        raise
    if result.error is not None and not result.interrupted:
        complain(result.error, verbose=verbose)
    status: int = report["exit"]["status"]
    return status


def _tidy(
    preparation: Preparation, output: Path, lock: OutputLock, report: dict[str, Any]
) -> dict[str, Any]:
    """Remove event files that no chunk lists, copy the results; the report then.

    Not after an error or an interrupt: what unfinished chunks left may belong to results that a
    resumed run finds.
    """
    from commands.result_copy import copy_results
    from executors.results.output import sweep

    sweep(output, {name for data in report["datasets"].values() for name in data["outputs"]})
    if preparation.destination is None:
        return report
    lock.require()
    return copy_results(preparation.destination, output, report)


def _resume(preparation: Preparation, store: StateStore, merged: MergedFiles) -> Resumption:
    """Find what an earlier run finished; say why the rest must run again."""
    from executors.resume import resume

    items = preparation.plan.items
    found = resume(items, store, merged.members())
    if preparation.options.merge == "none" and merged.files:
        # nothing will be joined again: a file that needs it is of no use
        merged.drop_partial(found.outputs)
        found = resume(items, store, merged.members())
    results().print(f"{len(found.records):,} of {len(items):,} chunks are there already")
    for reason in found.reasons:
        complain(f"to be computed again, {reason}")
    if found.unused:
        complain(f"{found.unused:,} stored results are of chunks that are not planned now")
    return found


def _describe(
    options: argparse.Namespace, output: Path, processor: Any, provenance: Mapping[str, Any]
) -> RunDescription:
    """Describe a run for its report; ``processor`` is None where it was not built."""
    from executors.report.build import RunDescription

    kind = type(processor)
    return RunDescription(
        processor={
            "name": options.processor,
            "class": "" if processor is None else f"{kind.__module__}:{kind.__qualname__}",
        },
        arguments=vars(options),
        output=output,
        seed=options.seed if options.seed is not None else 1,
        max_failed_fraction=options.max_failed_fraction,
        provenance=provenance,
    )


def _account_for(stopped: BaseException, options: argparse.Namespace) -> None:
    """Leave a report where what stopped a run came before its plan.

    A directory with a report keeps it: what an earlier run left is still there.
    """
    from commands.run_report import RunReport
    from executors.earlier import earlier_report
    from executors.plan import Plan
    from executors.results.lock import OutputLock
    from executors.results.output import prepare_output

    if options.dry_run or options.output is None:
        return
    try:
        settings = execution_settings(options)
        output = prepare_output(options.output)
        with OutputLock(output):
            earlier = earlier_report(output)
            if earlier is None:
                description = _describe(options, output, None, {})
                nothing = RunReport(description, Plan.nothing(), settings, earlier)
                nothing.__exit__(type(stopped), stopped, None)
    except (ValueError, OSError) as error:
        complain(f"no report was written: {first_line(error)}")


def _conclude(
    account: RunReport,
    processor: Any,
    result: RunResult,
    merged: MergedFiles,
    preparation: Preparation,
) -> dict[str, Any]:
    """Write histograms, report, joined files, figures; a failure is told, the rest is kept."""
    from commands.run_report import UNDRAWN
    from executors.earlier import pictures
    from executors.results.histograms import NAME, write_histograms
    from executors.results.merging import merge_outputs

    output, before = account.description.output, {}
    names = merged.names(result.accumulator)

    def locate() -> None:
        for dataset, content in result.accumulator.items():
            content["outputs"] = merged.located(names[dataset])

    finish, doing = getattr(processor, "finish", None), "writing histograms"
    verbose, mode = preparation.options.verbose, preparation.options.merge
    undone = UNDRAWN
    try:
        locate()
        account.write(result, notes=[UNDRAWN])
        write_histograms(output / NAME, result.accumulator)
        if mode != "none" and result.error is None:
            doing = f"joining files (--resume --merge {mode} does it again)"
            undone = UNJOINED.format(mode=mode)
            account.joined = merge_outputs(names, account.plan.items, merged, mode)
            locate()
        doing, undone = "comparing and drawing", UNDRAWN
        if finish is None or not result.accumulator:
            return account.write(result)
        if result.interrupted:
            return account.write(result, notes=[UNDRAWN])
        before = pictures(output)
        return account.write(result, validation=finish(result.accumulator, output))
    except KeyboardInterrupt as stopped:
        locate()
        drawn = _drawn_since(before, pictures(output))
        return account.write(result, validation=drawn, notes=[undone], stopped=stopped)
    except Exception as error:
        locate()
        problem = f"{doing} failed: {type(error).__name__}: {first_line(error)}"
        complain(error if verbose else problem, verbose=verbose)
        drawn = _drawn_since(before, pictures(output))
        return account.write(result, validation=drawn, notes=[problem], failed=True)


def _drawn_since(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, Any] | None:
    """Pictures of a drawing that did not end: the next run removes what is listed."""
    plots = [name for name, changed in now.items() if before.get(name) != changed]
    return {"plots": plots} if plots else None
