"""Command line of the sample generator: ``python -m samples --help``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from samples.generator import PROCESSES
from samples.pileup import POOL_EVENTS
from samples.production import Request, produce

EXIT_BAD_ARGUMENTS, EXIT_INTERRUPTED = 2, 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m samples",
        description="Generate NanoAOD: Pythia 8 collisions at 13 TeV through a parametric "
        "detector. The same command gives the same bytes, whatever the number of processes.",
    )
    add = parser.add_argument
    add("--process", required=True, choices=sorted(PROCESSES), help="which collisions")
    add("--events", required=True, type=int, metavar="N", help="how many events")
    add("--seed", required=True, type=int, metavar="S", help="seed of everything")
    add(
        "--detector-seed",
        type=int,
        metavar="D",
        help="seed of the detector alone: the same collisions, seen again (default: S)",
    )
    add(
        "--pool-events",
        type=int,
        default=POOL_EVENTS,
        metavar="P",
        help="collisions in the pile-up pool (default: %(default)s)",
    )
    add(
        "--pileup-seed",
        type=int,
        metavar="U",
        help="seed of the pile-up pool alone: samples of one campaign share one (default: S)",
    )
    add("-j", "--jobs", type=int, default=1, metavar="J", help="processes (default: 1)")
    add("-o", "--output", required=True, type=Path, metavar="FILE", help="ROOT file to write")
    return parser


def _check(arguments: argparse.Namespace) -> Request:
    """Turn the arguments into a request.

    Raises: ValueError saying which argument is wrong.
    """
    request = Request(
        arguments.process,
        arguments.events,
        arguments.seed,
        arguments.detector_seed,
        arguments.pool_events,
        arguments.pileup_seed,
    )
    if arguments.jobs < 1:
        message = f"jobs is {arguments.jobs}; it must be at least 1"
        raise ValueError(message)
    if arguments.output.is_dir():
        message = f"output {arguments.output} is a folder; give the name of a file"
        raise ValueError(message)
    if not arguments.output.resolve().parent.is_dir():
        message = f"folder {arguments.output.resolve().parent} does not exist; make it first"
        raise ValueError(message)
    return request


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    start = time.monotonic()

    def progress(done: int, total: int) -> None:
        rate = done / (time.monotonic() - start)
        left = (total - done) / rate
        if sys.stderr.isatty():
            print(
                f"\r{done}/{total} events, {rate:.0f}/s, {left:.0f} s left ",
                end="\n" if done == total else "",
                file=sys.stderr,
                flush=True,
            )

    try:
        request = _check(arguments)
        produce(request, arguments.output, workers=arguments.jobs, progress=progress)
    except (ValueError, OSError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return EXIT_BAD_ARGUMENTS
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted, nothing was written", file=sys.stderr)
        return EXIT_INTERRUPTED
    seconds = time.monotonic() - start
    size = arguments.output.stat().st_size / 1e6
    print(
        f"{arguments.output}: {request.events} {request.process} events, {size:.2f} MB, "
        f"{seconds:.1f} s, {request.events / seconds:.0f} events/s on {arguments.jobs} process(es)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
