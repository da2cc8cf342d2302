"""Flash simulation of NanoAOD: generator content in, reconstructed muons and jets out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from coffea.nanoevents import NanoAODSchema

from flows.bundle import Bundle
from flows.resident import resident
from processors.base import FlowProcessor, Result
from processors.blocks import blocks, direct_reads
from processors.config import FlashSimConfig, ProcessorConfig
from processors.errors import ConfigurationError
from processors.flashsim.chunk import Chunk
from processors.flashsim.conditions import require_simulation
from processors.objects.registry import TABLES, check_layout
from processors.objects.table import ObjectTable

__all__ = ["FlashSim", "FlashSimConfig", "FlowNanoAODSchema"]

BUNDLES = Path(__file__).parents[1] / "bundles"
SAMPLE = Path(__file__).parents[2] / "samples" / "data" / "ttbar.root"


class FlowNanoAODSchema(NanoAODSchema):
    """NanoAOD in which optional branches may be missing: the processor accounts for them."""

    warn_missing_crossrefs = False
    error_missing_event_ids = False


class FlashSim(FlowProcessor):
    """Simulates the collections of its bundles for every event of a chunk.

    A chunk passes in blocks: read, conditions, resident model, columns, output file, histograms.
    The result of an event depends on the event, the dataset's name, the bundles, the seed, nothing
    else.
    """

    name: ClassVar[str] = "flashsim"
    summary: ClassVar[str] = "flash simulation of NanoAOD muons and jets from generator content"
    Config: ClassVar[type[ProcessorConfig]] = FlashSimConfig
    schema: ClassVar[type[NanoAODSchema]] = FlowNanoAODSchema
    config: FlashSimConfig

    @classmethod
    def default_inputs(cls) -> list[Path]:
        """The shipped sample."""
        return [SAMPLE]

    @classmethod
    def default_bundles(cls) -> list[Path]:
        """The shipped models."""
        return [BUNDLES / name for name in TABLES]

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> FlashSim:
        """Build from the command line's options; every bundle is read, checked, pinned.

        Raises: ConfigurationError, flows.bundle.BundleError.
        """
        processor = super().from_options(options)
        return cls(processor.config.model_copy(update={"bundle_digests": processor.pin()}))

    def pin(self) -> tuple[str, ...]:
        """Digests of the bundles, checked against the tables and the digests asked for.

        Raises: ConfigurationError, flows.bundle.BundleError.
        """
        digests = [bundle.digest for _, bundle in self._checked()]
        strange = [d for d in self.config.bundle_digests if d not in digests]
        if strange:
            message = f"no bundle has digest {strange[0]}; the bundles given have {digests}"
            raise ConfigurationError(message)
        return tuple(digests)

    def tables(self) -> tuple[ObjectTable, ...]:
        """What the bundles simulate, in the order of the output; models stay unloaded.

        Raises: ConfigurationError, flows.bundle.BundleError.
        """
        found = {table.name for table, _ in self._checked()}
        return tuple(table for name, table in TABLES.items() if name in found)

    def _checked(self) -> list[tuple[ObjectTable, Bundle]]:
        """Bundles as configured, each with its table; one per object."""
        bundles = [Bundle.load(path) for path in self.config.bundles]
        paths = self.config.bundles
        found = [check_layout(bundle.card, path) for bundle, path in zip(bundles, paths)]
        objects = [table.name for table in found]
        if len(set(objects)) < len(objects):
            message = f"bundles {list(paths)} simulate {objects}: give one per object"
            raise ConfigurationError(message)
        return list(zip(found, bundles))

    def provenance(self) -> dict[str, Any]:
        """Configuration and bundles, for the run report."""
        bundles = [
            {"name": name, "path": path, "digest": model.digest}
            for path, (name, model) in zip(self.config.bundles, self.models().items(), strict=True)
        ]
        return {"configuration": self.config.model_dump(mode="json"), "bundles": bundles}

    def models(self) -> dict[str, Any]:
        """Resident models by object, in the order of the bundles."""
        pinned = self.config.bundle_digests or (None,) * len(self.config.bundles)
        models = {}
        for path, digest in zip(self.config.bundles, pinned, strict=True):
            model = resident(path, device=self.config.device, digest=digest)
            models[check_layout(model.card, path).name] = model
        return models

    def process(self, events: Any) -> Result:
        """Simulate one chunk.

        Raises: NotSimulationError, MissingBranchError when the input cannot be simulated.
        """
        require_simulation(events)
        models = self.models()
        chunk = Chunk(self.config, models, events)
        with direct_reads(events), chunk.writer() as writer:
            for block in blocks(events, self.config.block_events):
                chunk.run(block, writer)
            chunk.close(writer)
        chunk.counters.loads(models.values())
        outputs = [] if writer is None else [str(writer.path)]
        result = {"hists": chunk.validation.hists, "counters": dict(chunk.counters)}
        return {chunk.dataset: {**result, "outputs": outputs}}

    def finish(self, accumulator: Result, output_dir: Path) -> dict[str, Any]:
        """Distances between full and flash, figures in ``plots/``."""
        from processors.flashsim.summary import finish  # brings matplotlib, which no worker needs

        return finish(accumulator, Path(output_dir))
