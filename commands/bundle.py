"""Look into a bundle, prove that it is whole, or make one of a foreign model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from commands.bundle_import import add_import, run_import
from commands.console import complain, configure, results

if TYPE_CHECKING:
    from flows.bundle import Bundle
    from flows.transform import Transform

__all__ = ["main"]

LISTED = 8
"""Constants of a transform that are printed one by one: ids have as many, quantiles hundreds."""


def main(argv: Sequence[str]) -> int:
    """Inspect, verify or import a bundle; return 0, or 2 where it is damaged or missing."""
    options = _parse(argv)
    configure(options.verbose)
    if options.action == "import":
        return run_import(options)
    from flows.bundle import Bundle

    try:
        bundle = Bundle.load(options.path, digest=options.digest)
    except (ValueError, OSError) as error:
        complain(error, verbose=options.verbose)
        return 2
    if options.action == "verify":
        return _verify(bundle, options.path)
    if options.json:
        results().print_json(json.dumps(bundle.card.to_dict()))
    else:
        _inspect(bundle, options.path)
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run_processor.py bundle", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, summary in (
        ("inspect", "print what the card of a bundle says"),
        ("verify", "check digests, version, shapes, reference samples"),
    ):
        action = actions.add_parser(name, help=summary, description=summary)
        action.add_argument("path", type=Path, metavar="PATH", help="folder or zip")
        action.add_argument("--digest", metavar="SHA256", help="digest that the bundle must have")
        action.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
        if name == "inspect":
            action.add_argument("--json", action="store_true", help="print the whole card as JSON")
        else:
            action.set_defaults(json=False)
    add_import(actions)
    return parser.parse_args(argv)


def _verify(bundle: Bundle, path: Path) -> int:
    """Sample again what the bundle holds; the digests were checked when it was loaded."""
    from flows.reference import compare

    try:
        found = compare(bundle)
    except ValueError as error:
        complain(error)
        return 2
    samples = f"{found.rows - found.differing} of {found.rows} reference samples come out again"
    if not found.fine:
        complain(
            f"bundle {path}: only {samples}: this version of the code reads its weights in another "
            f"way than the one that wrote it; use that version, or train again"
        )
        return 2
    results().print(f"{path} is whole: digest {bundle.digest}")
    results().print(samples if found.rows else "it holds no reference samples")
    return 0


def _inspect(bundle: Bundle, path: Path) -> None:
    """Print the card of a bundle: provenance, columns, training ranges."""
    card, console = bundle.card, results()
    table = Table(box=None, show_header=False)
    sizes = [tensor.numel() for tensor in bundle.tensors.values()]
    rows = {
        "bundle": str(path),
        "model": f"{card.name} ({card.kind}), {sum(sizes):,} parameters",
        "digest": bundle.digest,
        "era": card.era,
        "source": card.source,
        "seed system": card.seed_system,
        **{name: _text(value) for name, value in card.provenance.items()},
        **{name: _text(value) for name, value in card.spec.get("definitions", {}).items()},
    }
    for name, value in rows.items():
        table.add_row(Text(name), Text(value))
    console.print(table)
    columns = Table(box=box.SIMPLE_HEAD)
    for name in ("column", "kind", "unit", "training range"):
        columns.add_column(name, no_wrap=True)
    columns.add_column("transforms", overflow="fold")
    for condition in card.layout.conditions:
        known = card.ranges.get(condition.name)
        span = f"{known.low:.4g} to {known.high:.4g}" if known else "-"
        steps = _steps(condition.transforms)
        columns.add_row(condition.name, "condition", condition.unit, span, steps)
    for category in card.layout.categories:
        columns.add_row(category.name, "category", "", f"{len(category.values)} values")
    for target in card.layout.targets:
        columns.add_row(target.name, "target", target.unit, "", _steps(target.transforms))
    console.print(columns)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _steps(transforms: Sequence[Transform]) -> Text:
    """Say what happens to a column on its way to the networks."""
    steps = []
    for transform in transforms:
        values = transform.to_dict()
        kind = values.pop("kind")
        constants = ", ".join(
            f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {_short(value)}"
            for name, value in values.items()
        )
        steps.append(f"{kind}({constants})")
    return Text(", ".join(steps))


def _short(value: Any) -> str:
    """Tables of many numbers by their length."""
    many = isinstance(value, list) and len(value) > LISTED
    return f"[{len(value)} numbers]" if many else _text(value)
