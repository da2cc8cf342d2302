"""Command line of the toy of scintillator bars: ``python -m samples.timing --help``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from samples.timing.bar import Bar, Scintillator
from samples.timing.muons import Gun
from samples.timing.production import Request, produce

EXIT_BAD_ARGUMENTS, EXIT_INTERRUPTED = 2, 130
PAIR = ("LOW", "HIGH")


def _parser() -> argparse.ArgumentParser:
    bar, gun = Bar(), Gun()
    parser = argparse.ArgumentParser(
        prog="python -m samples.timing",
        description="Shoot muons into scintillator bars, follow their light to both ends, write "
        "EDM4hep. The same command gives the same bytes.",
    )
    add = parser.add_argument
    add("--events", required=True, type=int, metavar="N", help="how many events")
    add("--seed", required=True, type=int, metavar="S", help="seed of everything")
    add("--muons", type=int, default=gun.number, metavar="M", help="per event (%(default)s)")
    add("--z", type=float, nargs=2, default=gun.z, metavar=PAIR, help="of the gun, mm")
    add("--theta", type=float, nargs=2, metavar=PAIR, help="degrees; default: all that enter")
    add("--momentum", type=float, nargs=2, default=gun.momentum, metavar=PAIR, help="GeV")
    add("--layers", type=int, default=bar.layers, metavar="L", help="bars (%(default)s)")
    add("--thickness", type=float, default=bar.thickness, metavar="MM", help="of a bar")
    add("--decay-time", type=float, default=bar.light.decay_time, metavar="NS", help="of the light")
    add("--no-photons", action="store_true", help="write energy deposits, not the photons")
    add("-o", "--output", required=True, type=Path, metavar="FILE", help="ROOT file to write")
    return parser


def _check(arguments: argparse.Namespace) -> Request:
    """Turn the arguments into a request.

    Raises: ValueError saying which argument is wrong.
    """
    if arguments.output.is_dir():
        message = f"output {arguments.output} is a folder; give the name of a file"
        raise ValueError(message)
    if not arguments.output.resolve().parent.is_dir():
        message = f"folder {arguments.output.resolve().parent} does not exist; make it first"
        raise ValueError(message)
    theta = arguments.theta and tuple(arguments.theta)
    gun = Gun(tuple(arguments.z), theta, tuple(arguments.momentum), arguments.muons)
    light = Scintillator(decay_time=arguments.decay_time)
    bar = Bar(thickness=arguments.thickness, layers=arguments.layers, light=light)
    return Request(arguments.events, arguments.seed, gun, bar, not arguments.no_photons)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    start = time.monotonic()

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty():
            end = "\n" if done == total else ""
            print(f"\r{done}/{total} events ", end=end, file=sys.stderr, flush=True)

    try:
        request = _check(arguments)
        photons = produce(request, arguments.output, progress=progress)
    except (ValueError, OSError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return EXIT_BAD_ARGUMENTS
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted, nothing was written", file=sys.stderr)
        return EXIT_INTERRUPTED
    seconds = time.monotonic() - start
    size = arguments.output.stat().st_size / 1e6
    print(
        f"{arguments.output}: {request.events} events, {photons} photons, {size:.2f} MB, "
        f"{seconds:.1f} s, {60e-6 * photons / seconds:.1f} M photons/min"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
