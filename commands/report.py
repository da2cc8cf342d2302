"""Show the report of a run, finished or not, with its figures drawn anew where asked."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from commands.console import complain, configure, results
from commands.printing import print_summary
from executors.errors import ConfigurationError

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Print the tables of a run; return 0, or 2 where there is no report."""
    parser = argparse.ArgumentParser(prog="run_processor.py report", description=__doc__)
    parser.add_argument("directory", type=Path, metavar="DIR", help="--output of a run")
    parser.add_argument(
        "--redraw",
        action="store_true",
        help="compare and draw again from histograms.json (built-in processors)",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
    configure(options.verbose)
    try:
        _show(options.directory, redraw=options.redraw)
    except (ValueError, OSError) as error:
        complain(error, verbose=options.verbose)
        return 2
    except KeyboardInterrupt:
        complain("interrupted; nothing was changed but figures")
        return 130
    return 0


def _show(directory: Path, *, redraw: bool) -> None:
    from commands.run_report import UNDRAWN
    from executors.report.build import NAME, read_report, write_report

    report = read_report(directory)
    if not directory.is_dir():
        directory = directory.parent
    if not report["exit"].get("finished", True):
        if redraw:
            msg = f"the run in {directory} has not ended: there is nothing to draw yet"
            raise ConfigurationError(msg)
        _show_standing(directory)
        return
    if redraw:
        report["validation"] = _redraw(report, directory.absolute())
        report["notes"] = [note for note in report["notes"] if note != UNDRAWN]
        write_report(directory / NAME, report)
        report = read_report(directory)
        results().print(f"drawn again: {directory / 'plots'}")
    print_summary(report, directory)


def _show_standing(directory: Path) -> None:
    """Print where a run stands that goes on, or was killed."""
    from executors.report.journal import read_progress
    from executors.report.summary import progress_complaints, progress_table
    from executors.results.lock import holder

    console, standing, held = results(), read_progress(directory), holder(directory)
    if standing is not None:
        console.print(progress_table(standing))
        for line in progress_complaints(standing):
            complain(line)
    if held is not None and held.alive:
        console.print(f"the run goes on: process {held.pid} on {held.host}")
    else:
        console.print("the run was killed; the same command with --resume goes on with it")


def _redraw(report: Mapping[str, Any], directory: Path) -> Any:
    """Let the processor of a run look at its merged histograms once more.

    Raises: ConfigurationError for a processor that is not built in: a report may not name code.
    """
    from executors.loading import load_class
    from executors.report.build import restore_accumulator
    from executors.results.histograms import NAME, read_histograms
    from processors import BUILTIN

    name = report["processor"]["name"]
    if name not in BUILTIN:
        msg = f"{directory} was made by {name!r}, which is not built in; only those are redrawn"
        raise ConfigurationError(msg)
    kind: Any = load_class(name, BUILTIN)
    # not as a run builds it: drawing needs no bundle, and the bundles may be gone
    config = getattr(kind, "Config", None)
    arguments = (
        [] if config is None else [config.from_mapping(report["processor"]["configuration"])]
    )
    accumulator = restore_accumulator(report, read_histograms(directory / NAME))
    return kind(*arguments).finish(accumulator, directory)
