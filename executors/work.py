"""Processor on one chunk: what coffea's Runner does, with a file that stays open."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from coffea.nanoevents import NanoAODSchema, NanoEventsFactory
from coffea.processor import ProcessorABC
from coffea.processor.executor import WorkItem

from executors.inputs.kept_files import close_kept_files, kept_file

__all__ = ["ChunkWork"]


@dataclass(frozen=True)
class ChunkWork:
    """Read a chunk as NanoEvents, lazily, and hand it to a processor.

    Metadata of the events are those that coffea's own Runner gives them.

    Arguments:
        process: Takes events, returns an accumulator.
        schema: Interprets the file.
        kind: What files are, ``root`` or ``parquet``.
        run: Under which files stay open.
    """

    process: Callable[[Any], Any]
    schema: type = NanoAODSchema
    kind: str = "root"
    run: str = field(default_factory=lambda: uuid.uuid4().hex, compare=False)

    @classmethod
    def of(cls, processor: ProcessorABC) -> ChunkWork:
        """Work of a processor, with its attributes ``schema`` and ``input_format`` if it has any.

        The method travels, not the processor: ``postprocess`` is the client's.
        """
        schema = getattr(processor, "schema", NanoAODSchema)
        return cls(processor.process, schema, getattr(processor, "input_format", "root"))

    def __call__(self, item: WorkItem) -> Any:
        """Accumulator of a chunk.

        Raises: whatever opening, reading and processing raise; the file is then closed.
        """
        try:
            return self.process(self._events(item))
        except BaseException:
            close_kept_files(self.run)
            raise

    def end(self) -> None:
        """Close what this process keeps open."""
        close_kept_files(self.run, everywhere=True)

    def _events(self, item: WorkItem) -> Any:
        planned = uuid.UUID(bytes=item.fileuuid)
        file = kept_file(self.run, item.filename, self.kind, planned)
        options = {
            "schemaclass": self.schema,
            "metadata": _metadata(item),
            "mode": "virtual",
            "entry_start": item.entrystart,
            "entry_stop": item.entrystop,
        }
        if self.kind == "parquet":
            return NanoEventsFactory.from_parquet(file, **options).events()
        tree = {"treepath": item.treename, "preload": item.preload}
        return NanoEventsFactory.from_root(file, **tree, **options).events()


def _metadata(item: WorkItem) -> dict[str, Any]:
    described = {
        "dataset": item.dataset,
        "filename": item.filename,
        "treename": item.treename,
        "entrystart": item.entrystart,
        "entrystop": item.entrystop,
        "fileuuid": str(uuid.UUID(bytes=item.fileuuid)),
    }
    return described | dict(item.usermeta or {})
