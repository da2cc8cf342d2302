"""The event file of a chunk: where it lies, what it says of its making."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from processors.config import FlowConfig
from processors.folders import dataset_folder
from processors.writer import EventWriter, event_writer

__all__ = ["chunk_writer", "provenance_of"]


def chunk_writer(
    config: FlowConfig, metadata: Mapping[str, Any], provenance: Mapping[str, Any]
) -> AbstractContextManager[EventWriter | None]:
    """Writer of the file of a chunk, or of nothing where nothing is to be written.

    Arguments:
        config: Configuration of the processor.
        metadata: Of the chunk's events, as coffea gives them.
        provenance: Stored in the file.
    """
    if config.output is None or config.format == "none":
        return nullcontext()
    entries = f"{metadata['entrystart']}-{metadata['entrystop']}"
    name = f"{metadata['fileuuid']}_{entries}.{config.format}"
    folder = Path(config.output) / "events" / dataset_folder(metadata["dataset"])
    return event_writer(folder / name, config.format, provenance)


def provenance_of(
    config: FlowConfig, metadata: Mapping[str, Any], bundles: Mapping[str, str]
) -> dict[str, Any]:
    """What every event file says: dataset, seed, digests of the ``bundles``, source."""
    return {
        "dataset": metadata["dataset"],
        "seed": config.seed,
        "oversample": config.oversample,
        "bundles": dict(bundles),
        "source": {key: metadata[key] for key in ("fileuuid", "entrystart", "entrystop")},
    }
