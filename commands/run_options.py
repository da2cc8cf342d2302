"""Options of a run, as the command line writes them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from commands import SUBCOMMANDS
from commands.executor_options import add_execution

__all__ = ["parse"]

RETRIES, RETRY_DELAY = 2, 1.0  # chosen
SAMPLE_OUTPUT = "out"
"""Where a run over a shipped sample goes if nobody says: a folder of the processor's name in it."""
EPILOG = f"""\
PROCESSOR is a built-in name (see --list), module:Class or path.py:Class.
INPUT is files, globs, directories, root:// or https:// URLs; all of them form the dataset "input".
Without input a processor runs on its shipped sample. Other commands: {", ".join(SUBCOMMANDS)}.

exit status: 0 all chunks done; 3 finished, some failed; 4 more failed than allowed, or nothing
done; 2 bad arguments or output in use; 130 interrupted; 1 internal error"""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line of a run; leaves with status 2 where it is wrong.

    Options that a configuration file may set are None or empty where they were not given.
    """
    parser = argparse.ArgumentParser(
        prog="run_processor.py",
        description="Run a processor over NanoAOD, chunk by chunk.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("processor", nargs="?", metavar="PROCESSOR")
    parser.add_argument("inputs", nargs="*", metavar="INPUT")
    parser.add_argument("--list", action="store_true", help="describe the built-in processors")
    parser.add_argument("--fileset", metavar="FILESET.json", help="coffea fileset")
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="directory of the results; without input, default: out/PROCESSOR",
    )
    parser.add_argument(
        "--copy-to",
        metavar="URL",
        help="root://HOST//DIRECTORY that gets a copy of the results when the run has ended",
    )
    add_execution(parser)
    parser.add_argument(
        "--dask-report",
        action="store_true",
        help="leave Dask's performance report, dask-report.html, in the directory of the results",
    )
    _add_retries(parser)
    _add_physics(parser)
    _add_amount(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="say more; show tracebacks")
    options = parser.parse_intermixed_args(argv)
    if not options.list:
        if options.processor is None:
            parser.error("name a PROCESSOR; --list shows those that are built in")
        if options.output is None and options.config is None and not options.dry_run:
            if options.inputs or options.fileset or ":" in options.processor:
                parser.error("name the directory of the results with --output")
            options.output = f"{SAMPLE_OUTPUT}/{options.processor}"
        if options.fileset and options.inputs:
            parser.error("give INPUT or --fileset, not both")
    return options


def _add_retries(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is tried again")
    group.add_argument(
        "--retries",
        type=int,
        default=RETRIES,
        metavar="N",
        help=f"further attempts after storage, network or a worker failed; default: {RETRIES}",
    )
    group.add_argument(
        "--retry-delay",
        type=float,
        default=RETRY_DELAY,
        metavar="S",
        help=f"seconds before the second attempt, doubled each time; default: {RETRY_DELAY:g}",
    )


def _add_physics(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what it does")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), help="default: auto")
    group.add_argument(
        "--bundle", action="append", default=[], metavar="PATH", help="model; may be repeated"
    )
    group.add_argument(
        "--bundle-digest",
        action="append",
        default=[],
        metavar="SHA256",
        help="digest that the model must have; may be repeated",
    )
    group.add_argument(
        "--config",
        metavar="CONFIG.yaml",
        help="configuration of the processor, its keys in --list; options override it",
    )
    group.add_argument("--seed", type=int, metavar="S", help="default: 1")
    group.add_argument("--format", choices=("root", "parquet", "none"), help="default: root")
    group.add_argument(
        "--merge",
        choices=("dataset", "file", "none"),
        default="none",
        help="join the files of the chunks; default: none",
    )
    group.add_argument(
        "--oversample", type=int, metavar="K", help="simulations per event; default: 1"
    )


def _add_amount(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how much of it")
    group.add_argument(
        "--chunksize", type=int, metavar="N", help="events per chunk; default: from the fileset"
    )
    group.add_argument("--max-files", type=int, metavar="N", help="files per dataset")
    group.add_argument("--max-chunks", type=int, metavar="N", help="chunks per dataset")
    group.add_argument(
        "--test", action="store_true", help="one file, two chunks of 1000 events per dataset"
    )
    group.add_argument(
        "--resume", action="store_true", help="compute only what an earlier run did not"
    )
    group.add_argument(
        "--max-failed-fraction",
        type=float,
        default=1.0,
        metavar="F",
        help="exit 4 above this fraction of failed chunks; default: 1",
    )
    group.add_argument(
        "--check-duplicates",
        action="store_true",
        help="look for files and events that occur twice before the first chunk; reads all files",
    )
    group.add_argument(
        "--look-again",
        action="store_true",
        help="open every input file for the plan, whatever earlier runs found in it",
    )
    group.add_argument("--dry-run", action="store_true", help="print the plan and stop")
