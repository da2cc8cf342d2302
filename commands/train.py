"""Train a model: extract tables over the executors, fit, judge, write a bundle."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.console import complain, configure, results
from commands.executor_options import add_execution, execution_settings
from commands.photon_table_options import add_reading, reading_of
from commands.training_tables import Tables, tables_of
from executors.errors import ConfigurationError, first_line

if TYPE_CHECKING:
    from flows.bundle import Bundle
    from flows.optimise import Progress

__all__ = ["main"]

HELD_OUT = 0.05
"""Share of the events that training never sees and the bundle's metrics come from; chosen."""
MIN_HELD_OUT = 50
"""Objects or photons held out; with fewer the noise floor of KS, 0.87 sqrt(2/n), passes 0.17."""


def main(argv: Sequence[str]) -> int:
    """Train and return the exit status: 0, 2 for bad arguments or input, 130 when interrupted."""
    options = _parse(argv)
    configure(options.verbose)
    try:
        return _train(options)
    except KeyboardInterrupt:
        complain("interrupted; the same command goes on from the last checkpoint")
        return 130
    except (ValueError, OSError) as error:
        complain(error, verbose=options.verbose)
        return 2
    except Exception as error:
        text = f"training failed: {type(error).__name__}: {first_line(error)} (-v shows where)"
        complain(error if options.verbose else text, verbose=options.verbose)
        return 1


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run_processor.py train",
        description="Train a model on simulated events and write a bundle.",
        allow_abbrev=False,
    )
    parser.add_argument("object", metavar="MODEL", help="flashsim.jet, timing.photon, ...")
    parser.add_argument(
        "inputs", nargs="*", metavar="INPUT", help="files, globs, directories; or tables (.npz)"
    )
    parser.add_argument("--fileset", metavar="FILESET.json", help="coffea fileset")
    parser.add_argument("--output", required=True, type=Path, metavar="BUNDLE", help="folder made")
    parser.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="tables and checkpoints; default: BUNDLE.training",
    )
    parser.add_argument("--from", dest="start", type=Path, metavar="BUNDLE", help="fine-tune this")
    parser.add_argument("--era", default="unspecified", help="campaign, stored in the card")
    parser.add_argument(
        "--note",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="stored in the card's provenance, such as a hash of the generator; may be repeated",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="default: 1")
    parser.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="passes of the flow over the table, other networks have their own; default: the "
        "model's",
    )
    parser.add_argument("--lr", type=float, metavar="R", help="largest learning rate of the flow")
    parser.add_argument("--threads", type=int, metavar="N", help="default: all cores")
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where the networks are trained; default: auto, a GPU if there is one",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE.yaml", help="configuration of the extraction"
    )
    add_execution(parser)
    add_reading(parser)
    parser.add_argument("--chunksize", type=int, metavar="N", help="events per chunk")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more; show tracebacks")
    options = parser.parse_intermixed_args(argv)
    if bool(options.fileset) == bool(options.inputs):
        parser.error("give INPUT or --fileset, one of them")
    for name in ("epochs", "threads"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1, found {value}")
    if options.lr is not None and not 0 < options.lr < 1:
        parser.error(f"--lr must lie between 0 and 1, found {options.lr}")
    if not 0 <= options.seed < 2**63:
        parser.error(f"--seed must be at least 0 and below 2^63, found {options.seed}")
    return options


def _train(options: argparse.Namespace) -> int:
    settings = execution_settings(options)
    threads = options.threads or settings.processes
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    # numerical libraries read their thread limits when they are imported
    from executors.results.lock import OutputLock
    from executors.results.output import prepare_output
    from flows.bundle import Bundle
    from processors.trainables import trainable

    model, device = trainable(options.object), _device(options.device)
    start = Bundle.load(options.start) if options.start else None
    _probe_target(options.output)
    work = prepare_output(options.work or _beside(options.output, ".training"))
    with OutputLock(work):
        tables = tables_of(options, settings, model, work)
        complete = model.load(tables.paths, reading_of(options))
        seen, unseen = model.hold_out(complete, HELD_OUT, options.seed)
        held, _ = model.size(unseen)
        _require_held_out(held)
        results().print(f"{options.object}: {model.size(complete)[1]}, {held:,} held out")
        run = _run(options, tables) | {
            "checkpoints": work / "checkpoints" / model.name,
            "threads": threads,
            "device": device,
        }
        bundle = model.train(seen, run, _recipe(options), _tell, start)
        bundle.save(options.output)
        try:
            metrics = model.evaluate(bundle, unseen, options.seed)
        except Exception:
            complain(f"the bundle in {options.output} is trained, but could not be judged:")
            raise
        bundle = _with_metrics(bundle, metrics)
        bundle.save(options.output)
        _draw(bundle, model.networks, options.output)
    _summarise(bundle, model.verdict(metrics), options.output)
    return 0


def _beside(output: Path, ending: str) -> Path:
    """Path of what lies beside a bundle; versions such as ``jet_v1.0`` are no suffix."""
    return output.with_name(output.name + ending)


def _probe_target(output: Path) -> None:
    """Refuse, before hours of training, a place that cannot take the bundle.

    Raises: ConfigurationError in one sentence.
    """
    from executors.results.output import prepare_output, probe_writable
    from flows.bundle import CARD

    archive = output.suffix == ".zip"
    if archive and output.is_dir():
        msg = f"--output {output} is a directory, a bundle named .zip is a file; choose another"
        raise ConfigurationError(msg)
    if not archive and output.is_file():
        msg = f"--output {output} is a file, a bundle is a directory; choose another, or add .zip"
        raise ConfigurationError(msg)
    if not archive and output.is_dir() and any(output.iterdir()) and not (output / CARD).exists():
        msg = f"--output {output} is a directory with other content than a bundle; choose another"
        raise ConfigurationError(msg)
    parent = prepare_output(output.absolute().parent)
    complaint = probe_writable(output) if output.is_dir() else probe_writable(parent)
    if complaint:
        raise ConfigurationError(complaint)


def _require_held_out(rows: int) -> None:
    """Refuse a sample whose held-out part is too small to judge a model by."""
    if rows < MIN_HELD_OUT:
        msg = (
            f"{rows} objects or photons are held out for judging the model, at least "
            f"{MIN_HELD_OUT} are needed; train on more events ({HELD_OUT:.0%} are held out)"
        )
        raise ConfigurationError(msg)


def _device(name: str) -> str:
    """Device of a name.

    Raises: ConfigurationError where this machine has none.
    """
    import torch

    found = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if found else "cpu"
    if name == "cuda" and not found:
        msg = "--device cuda: torch sees no GPU here; use auto or cpu, or a node with one"
        raise ConfigurationError(msg)
    return name


def _recipe(options: argparse.Namespace) -> dict[str, Any]:
    """What of the flow's recipe was given."""
    given = {"epochs": options.epochs, "lr": options.lr}
    return {name: value for name, value in given.items() if value is not None}


def _run(options: argparse.Namespace, tables: Tables) -> dict[str, Any]:
    """What decides a training, whatever is trained."""
    return {
        "seed": options.seed,
        "era": options.era,
        "source": options.fileset or ", ".join(options.inputs),
        "provenance": {
            **tables.provenance,
            "flashbrew": importlib.metadata.version("flashbrew"),
            **_notes(options.note),
        },
    }


def _notes(pairs: Sequence[str]) -> dict[str, str]:
    notes = dict(pair.partition("=")[::2] for pair in pairs)
    empty = [key for key, value in notes.items() if not (key and value)]
    if empty:
        msg = f"--note must look like KEY=VALUE, found {empty[0]!r}"
        raise ConfigurationError(msg)
    return notes


def _with_metrics(bundle: Bundle, metrics: dict[str, Any]) -> Bundle:
    card = dataclasses.replace(bundle.card, metrics=dict(bundle.card.metrics) | metrics)
    return dataclasses.replace(bundle, card=card)


def _tell(now: Progress) -> None:
    """Print one line per epoch on standard error."""
    print(
        f"{now.stage} epoch {now.epoch}/{now.epochs}: loss {now.train_loss:.4f}, "
        f"validation {now.validation_loss:.4f} (best {now.best_loss:.4f}), "
        f"{now.rows_per_second:,.0f} rows/s, {now.seconds:.0f} s",
        file=sys.stderr,
        flush=True,
    )


def _draw(bundle: Bundle, networks: Sequence[str], output: Path) -> None:
    from processors.plots.training import plot_loss

    metrics = bundle.card.metrics
    curves = {name: metrics[name] for name in networks if name in metrics}
    figure = plot_loss(
        {name: (c["train_loss"], c["validation_loss"]) for name, c in curves.items()}
    )
    figure.savefig(_beside(output, ".loss.png"), dpi=120)


def _summarise(bundle: Bundle, verdict: str, output: Path) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("variable", "KS", "KS noise floor", "W1/sigma", "W1/sigma noise floor"):
        table.add_column(heading, justify="left" if heading == "variable" else "right")
    for row in bundle.card.metrics["closure"]:
        numbers = (row["ks"], row["ks_floor"], row["w1"], row["w1_floor"])
        table.add_row(row["variable"], *(f"{number:.4f}" for number in numbers))
    console = results()
    console.print(table)
    console.print(f"{verdict}; bundle {bundle.digest[:16]} in {output}")
