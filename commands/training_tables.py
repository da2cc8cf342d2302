"""Where the tables of a training come from: events, extracted over the executors, or tables."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from commands.photon_table_options import reading_of
from executors.errors import ConfigurationError

if TYPE_CHECKING:
    from executors.inputs.fileset import FileEntry
    from executors.settings import ExecutorSettings
    from processors.trainables import Trainable

__all__ = ["Tables", "tables_of"]

CUT = "events.cut."
"""Begin of the counters that say why events gave no row."""


class Tables(NamedTuple):
    """Files of tables, and what the card of a model says of their origin."""

    paths: list[str]
    provenance: dict[str, Any]


def tables_of(
    options: argparse.Namespace, settings: ExecutorSettings, model: Trainable, work: Path
) -> Tables:
    """Find the tables, or make them; every chunk must succeed.

    Raises: ConfigurationError naming the first file or chunk that did not, or saying why no event
        gave a row.
    """
    from executors.inputs.fileset import from_inputs

    if options.fileset:
        return _extracted(None, options, settings, model, work)
    named = from_inputs(options.inputs)
    ready = [entry.file.endswith(model.endings) for entry in named]
    if not any(ready):
        return _extracted(named, options, settings, model, work)
    if not all(ready):
        message = "tables and events together cannot be trained on; extract the events first"
        raise ConfigurationError(message)
    if options.config:
        message = f"tables were extracted already: --config {options.config} has no effect on them"
        raise ConfigurationError(message)
    paths = [entry.file for entry in named]
    return Tables(paths, {"fileset_hash": _digest(paths)})


def _digest(paths: Sequence[str]) -> str:
    """Digest of what tables hold, whatever their names and their order.

    Raises: ConfigurationError where one cannot be read.
    """
    try:
        each = sorted(hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths)
    except OSError as error:
        message = f"table {error.filename} cannot be read: {error.strerror}; name tables"
        raise ConfigurationError(message) from error
    return hashlib.sha256(" ".join(each).encode()).hexdigest()


def _extracted(
    named: Sequence[FileEntry] | None,
    options: argparse.Namespace,
    settings: ExecutorSettings,
    model: Trainable,
    work: Path,
) -> Tables:
    """Tables of the files named, of those of ``--fileset`` where there are none."""
    from commands.configuration import read_config
    from executors.dask.checks import OutputProbe
    from executors.execution import execute
    from executors.inputs.fileset import refuse_other_formats
    from executors.inputs.fileset_json import read_fileset
    from executors.plan import plan_fileset
    from executors.progress import ConsoleProgress

    config = read_config(options.config) if options.config else {}
    told = {"output": work, "seed": options.seed, "config": config} | reading_of(options)
    processor = model.extraction(told)
    if named is None:
        entries = read_fileset(options.fileset, tree=processor.tree)
    else:
        entries = [dataclasses.replace(entry, tree=processor.tree) for entry in named]
    refuse_other_formats(entries, "root")
    plan = plan_fileset(entries, chunk_size=options.chunksize)
    if plan.unknown:
        message = f"cannot train on what cannot be read: {plan.unknown[0].reason}"
        raise ConfigurationError(message)
    with ConsoleProgress(plan.events, len(plan.items), f"extract {model.name}") as progress:
        result = execute(plan, processor, settings, listener=progress, probe=OutputProbe(work))
    failed = [record for record in result.ledger.records if record.status != "done"]
    if result.interrupted:
        raise KeyboardInterrupt
    if failed:
        message = f"{len(failed)} of {len(plan.items)} chunks failed, the first: {failed[0].reason}"
        raise ConfigurationError(message)
    _require_rows([data.get("counters", {}) for data in result.accumulator.values()])
    outputs = [path for data in result.accumulator.values() for path in data["outputs"]]
    return Tables(sorted(outputs), {"fileset_hash": plan.fileset_hash, "events": plan.events})


def _require_rows(counted: Sequence[Mapping[str, Any]]) -> None:
    """Refuse tables without rows.

    Arguments:
        counted: Counters by dataset: ``events.read``, ``events.written``, ``events.cut.*``.
    """
    total: Counter[str] = Counter()
    for counters in counted:
        total.update(counters)
    if total["events.written"]:
        return
    cuts = {n.removeprefix(CUT): v for n, v in total.items() if n.startswith(CUT) and v}
    why = ", ".join(f"{value:,} {name}" for name, value in cuts.items())
    message = (
        f"no event gave a row to train on: {total['events.read']:,} events read, cut: "
        f"{why or 'none'}; name other events, or change the cuts with --config"
    )
    raise ConfigurationError(message)
