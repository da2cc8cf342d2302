"""Show the report of a finished run again, with its figures drawn anew where asked."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from commands.console import complain, configure, results
from commands.run import print_summary
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
    return 0


def _show(directory: Path, *, redraw: bool) -> None:
    from executors.report import NAME, read_report, write_report

    report = read_report(directory)
    if not directory.is_dir():
        directory = directory.parent
    if redraw:
        report["validation"] = _redraw(report, directory.absolute())
        write_report(directory / NAME, report)
        report = read_report(directory)
        results().print(f"drawn again: {directory / 'plots'}")
    print_summary(report, directory)


def _redraw(report: Mapping[str, Any], directory: Path) -> Any:
    """Let the processor of a run look at its merged histograms once more.

    Raises: ConfigurationError for a processor that is not built in: a report may not name code.
    """
    from executors.histograms import NAME, read_histograms
    from executors.loading import load_class
    from executors.report import restore_accumulator
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
