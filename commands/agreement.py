"""Hold a model of photon times against photons of full simulation."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from commands.console import complain, configure, results
from commands.photon_table_options import add_reading, reading_of

if TYPE_CHECKING:
    from processors.timing.agreement import Agreement

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Compare and print; return 0, or 2 where something is missing or does not fit."""
    options = _parse(argv)
    configure(options.verbose)
    # seconds of imports: after the arguments were understood
    from flows.bundle import Bundle
    from flows.resident import resident
    from processors.timing.agreement import agreement
    from processors.timing.processor import check_card
    from processors.timing.training import PHOTON_TRAINING

    try:
        bundle = Bundle.load(options.bundle)
        check_card(bundle.card, str(options.bundle))
        model = resident(options.bundle, device="cpu")
        tables = {}
        for path, name in _names(options.photons).items():
            table = PHOTON_TRAINING.load([path], reading_of(options))
            try:
                tables[name] = agreement(model, table.photons, table.definitions, options.seed)
            except ValueError as error:
                message = f"{path}: {error}"
                raise ValueError(message) from error
    except (ValueError, OSError) as error:
        complain(error, verbose=options.verbose)
        return 2
    if options.json:
        plain = {name: [row._asdict() for row in rows] for name, rows in tables.items()}
        results().print_json(json.dumps(plain))
    else:
        _print(tables)
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run_processor.py agreement",
        description=__doc__,
        epilog="z of the photons is carried to the point that the model was trained with.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="model of photon times")
    parser.add_argument(
        "photons",
        nargs="+",
        metavar="TABLE",
        help="written by the processor 'photons', or tensor (.pt) of RowanKell/work_eic",
    )
    add_reading(parser)
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="default: 1")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    return parser.parse_args(argv)


COLUMNS = (
    "photons of",
    "muons",
    "photons",
    "outside",
    "KS",
    "noise",
    "W1 [ns]",
    "KS/muon",
    "chance",
)


def _names(paths: Sequence[str]) -> dict[str, str]:
    """What each file is called: its name, its path where two have the same name.

    Raises: ValueError where a file is named twice.

    Example:
        >>> _names(["a/x.npz", "b/x.npz", "b/y.npz"])
        {'a/x.npz': 'a/x.npz', 'b/x.npz': 'b/x.npz', 'b/y.npz': 'y.npz'}
    """
    files = Counter(Path(path).absolute() for path in paths)
    twice = [str(file) for file, number in files.items() if number > 1]
    if twice:
        msg = f"{twice[0]} is named twice; name it once"
        raise ValueError(msg)
    names = Counter(Path(path).name for path in paths)
    return {path: path if names[Path(path).name] > 1 else Path(path).name for path in paths}


def _print(tables: dict[str, list[Agreement]]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == COLUMNS[0] else "right")
    for name, rows in tables.items():
        for row in rows:
            table.add_row(
                f"{name}, {row.what}",
                f"{row.muons:,}",
                f"{row.photons:,}",
                f"{row.outside:,}",
                f"{row.ks:.3f}",
                f"{row.ks_floor:.3f}",
                f"{row.w1:.3f}",
                _with_error(row.ks_per_muon, row.ks_per_muon_error),
                _with_error(row.ks_per_muon_chance, None),
            )
    console = results()
    console.print(table)
    console.print("outside: muons outside the training ranges; KS/muon: median of KS over noise,")
    console.print("chance: the same of the model's own draws, what a perfect model would get")


def _with_error(value: float | None, error: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if error is None else f"{value:.2f} ± {error:.2f}"
