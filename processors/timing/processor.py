"""Arrival times of photons in place of their tracking: detector simulation in, sensors out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from flows.bundle import Bundle
from flows.card import Card
from flows.resident import resident
from processors.base import FlowProcessor, Result
from processors.blocks import Block, blocks, direct_reads
from processors.chunkfile import chunk_writer, provenance_of
from processors.config import ProcessorConfig
from processors.counters import Counters
from processors.errors import ConfigurationError
from processors.identity import EventIds, join, repeated
from processors.timing import bars as bar_rows
from processors.timing import hits as particles
from processors.timing import sensors
from processors.timing.conditions import CONTEXT, FURTHER, UNITS
from processors.timing.config import TimingConfig
from processors.timing.output import event_content
from processors.timing.reading import Detector, has_content, read_detector, require_detector
from processors.timing.schema import DetectorSchema
from processors.timing.validation import TimingValidation, reference
from processors.timing.warm import compile_kernels
from processors.writer import EventWriter

__all__ = ["Timing", "check_card"]

SAMPLE = Path(__file__).parents[2] / "samples" / "data" / "bars.root"
BUNDLE = Path(__file__).parents[1] / "bundles" / "photon_times"
COUNTERS = (
    "events.read",
    "events.written",
    "events.without_content",
    "events.without_hits",
    "events.with_contexts_outside",
    "events.digested_identity",
    "events.repeated_in_chunk",
    "hits.in",
    "hits.without_particle",
    *particles.COUNTERS,
    *sensors.COUNTERS,
    *bar_rows.COUNTERS,
)
TARGETS = (("time", "ns"),)


class Timing(FlowProcessor):
    """Draws the photons of every particle in every bar at both ends.

    The result of an event depends on the event, the dataset's name, the bundle, the seed, nothing
    else.
    """

    name: ClassVar[str] = "timing"
    summary: ClassVar[str] = "photon arrival times at both ends of scintillator bars"
    Config: ClassVar[type[ProcessorConfig]] = TimingConfig
    tree: ClassVar[str] = "events"
    event_columns: ClassVar[tuple[str, ...]] = ()
    schema: ClassVar[type[DetectorSchema]] = DetectorSchema
    config: TimingConfig

    @classmethod
    def default_inputs(cls) -> list[Path]:
        """The shipped sample."""
        return [SAMPLE]

    @classmethod
    def default_bundles(cls) -> list[Path]:
        """The shipped model of the toy's photons."""
        return [BUNDLE]

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Timing:
        """Build from the command line's options; the bundle is read, checked, pinned.

        Raises: ConfigurationError, flows.bundle.BundleError.
        """
        processor = super().from_options(options)
        return cls(processor.config.model_copy(update={"bundle_digests": (processor.pin(),)}))

    def pin(self) -> str:
        """Digest of the bundle, checked against what is needed and the digest asked for.

        Raises: ConfigurationError, flows.bundle.BundleError.
        """
        if len(self.config.bundles) != 1:
            message = (
                f"timing takes one bundle, found {len(self.config.bundles)}; name it with --bundle"
            )
            raise ConfigurationError(message)
        path, asked = self.config.bundles[0], self.config.bundle_digests
        bundle = Bundle.load(path, digest=asked[0] if asked else None)
        check_card(bundle.card, path)
        _check_geometry(bundle.card, path, self.config)
        return bundle.digest

    def provenance(self) -> dict[str, Any]:
        """Configuration and bundle, for the run report."""
        model = self.model()
        bundle = {
            "name": model.card.name,
            "path": self.config.bundles[0],
            "digest": model.digest,
            "numbers": "learnt" if model.counts_samples else "formula",
        }
        return {"configuration": self.config.model_dump(mode="json"), "bundles": [bundle]}

    def model(self) -> Any:
        """The resident model."""
        digest = self.config.bundle_digests[0] if self.config.bundle_digests else None
        return resident(self.config.bundles[0], device=self.config.device, digest=digest)

    def process(self, events: Any) -> Result:
        """Simulate the sensors of one chunk.

        Raises: MissingBranchError, InputError when the input cannot be simulated.
        """
        require_detector(events, self.config.hits)
        compile_kernels()
        chunk = _Chunk(self.config, self.model(), events.metadata)
        with direct_reads(events), chunk.writer() as writer:
            for block in blocks(events, self.config.block_events, (f"{self.config.hits}.time",)):
                chunk.run(block, writer)
            if not chunk.seen:
                chunk.run(Block(events, 0, 0), writer)
        ids = join(chunk.seen)
        chunk.counters["events.repeated_in_chunk"] += repeated(ids.take(has_content(ids.event)))
        chunk.counters.loads([chunk.model])
        outputs = [] if writer is None else [str(writer.path)]
        result = {"hists": chunk.validation.hists, "counters": dict(chunk.counters)}
        return {chunk.dataset: {**result, "outputs": outputs}}

    def finish(self, accumulator: Result, output_dir: Path) -> dict[str, Any]:
        """Distances between the photons of the input and those drawn, figures in ``plots/``."""
        from processors.timing.summary import finish  # brings matplotlib, which no worker needs

        return finish(accumulator, Path(output_dir))


class _Chunk:
    """State of one chunk while its blocks pass."""

    def __init__(self, config: TimingConfig, model: Any, metadata: Mapping[str, Any]) -> None:
        self.config, self.model, self.metadata = config, model, metadata
        self.dataset: str = metadata["dataset"]
        self.counters = Counters(dict.fromkeys(COUNTERS, 0))
        self.validation = TimingValidation(config)
        self.seen: list[EventIds] = []

    def writer(self) -> Any:
        """Writer of the chunk's file, or of nothing."""
        bundles = {self.model.card.name: self.model.digest}
        told = provenance_of(self.config, self.metadata, bundles)
        return chunk_writer(self.config, self.metadata, told)

    def run(self, block: Block, writer: EventWriter | None) -> None:
        """Read one block; draw, write, compare as many of its events at a time as fit."""
        counters, config = self.counters, self.config
        with counters.stage("read"):
            found = read_detector(block.events, config.hits, counters)
        with counters.stage("select"):
            hits = particles.bar_hits(found.hits, config, counters)
        events = len(hits.counts)
        counters["events.read"] += events
        counters["events.digested_identity"] += events
        counters["events.without_content"] += int((~has_content(found.ids.event)).sum())
        counters["events.without_hits"] += int((hits.counts == 0).sum())
        contexts = [
            self._simulate(found, hits.between(*span), np.arange(*span), writer)
            for span in particles.portions(hits, config, config.oversample)
        ]
        if config.histograms:
            with counters.stage("validate"):
                self._compare(found, hits, np.concatenate(contexts))
        self.seen.append(found.ids)

    def _simulate(
        self,
        found: Detector,
        hits: particles.BarHits,
        events: np.ndarray,
        writer: EventWriter | None,
    ) -> np.ndarray:
        """Draw, write, fill some events of a block; returns the contexts of their hits."""
        counters, folds = self.counters, self.config.oversample
        rows, fold = _folds(hits, folds)
        source, numbers = np.repeat(events, folds), np.tile(np.arange(folds), len(events))
        copies = found.ids.take(source)
        with counters.stage("infer"):
            seen = sensors.see(rows, fold, copies, self.model, self.config, self.dataset, counters)
        with counters.stage("shape"):
            bars = bar_rows.bars_of(rows, seen)
            signals = bar_rows.signals_of(bars, self.config, counters)
        far = np.bincount(rows.event[seen.outside.any(axis=1)] // folds, minlength=len(events))
        counters["events.with_contexts_outside"] += int((far > 0).sum())
        if writer is not None:
            with counters.stage("write"):
                of_bars = bar_rows.columns_of(
                    bars, rows, signals, found.particles, source, self.config
                )
                writer.extend(event_content(rows, seen, bars, of_bars, copies, numbers))
            counters["events.written"] += len(source)
        if self.config.histograms:
            with counters.stage("validate"):
                self.validation.add("flash", rows, seen, 1.0 / folds)
                self.validation.add_signals("flash", bars, rows, seen, signals, 1.0 / folds)
        contexts: np.ndarray = seen.contexts[fold == 0]
        return contexts

    def _compare(self, found: Detector, hits: particles.BarHits, contexts: np.ndarray) -> None:
        """Fill the photons of the input, read out as those drawn."""
        full = reference(found, hits, self.config, contexts, self.counters)
        self.validation.add("full", hits, full, 1.0)
        if full.counts.any():
            bars = bar_rows.bars_of(hits, full)
            signals = bar_rows.signals_of(bars, self.config, Counters())
            self.validation.add_signals("full", bars, hits, full, signals, 1.0)


def _folds(hits: particles.BarHits, folds: int) -> tuple[particles.BarHits, np.ndarray]:
    """Hits of every copy of every event, copies of an event next to each other."""
    if folds == 1:
        return hits, np.zeros(len(hits.event), dtype=np.int64)
    row = np.tile(np.arange(len(hits.event)), folds)
    fold = np.repeat(np.arange(folds), len(hits.event))
    event = hits.event[row] * folds + fold
    order = np.argsort(event, kind="stable")
    return hits.take(row[order], event[order], len(hits.counts) * folds), fold[order]


def check_card(card: Card, path: str) -> None:
    """Check that a model makes photon times.

    Raises: ConfigurationError saying what the model is instead.
    """
    found = tuple((column.name, column.unit) for column in card.layout.conditions)
    made = tuple((column.name, column.unit) for column in card.layout.targets)
    needed, further = (tuple((n, UNITS[n]) for n in names) for names in (CONTEXT, FURTHER))
    known = found == (*needed, *(column for column in further if column in found))
    if card.kind != "flow" or not known or made != TARGETS:
        message = (
            f"bundle {path} holds a model of kind {card.kind!r} from {found} to {made}; timing "
            f"needs a flow from {needed}, maybe {further} too, to {TARGETS}"
        )
        raise ConfigurationError(message)
    if "lever_arm_mm" not in card.spec.get("definitions", {}):
        message = (
            f"bundle {path} does not say where its z lies (definition 'lever_arm_mm'); import the "
            "weights again with --lever-arm"
        )
        raise ConfigurationError(message)


def _check_geometry(card: Card, path: str, config: TimingConfig) -> None:
    """Refuse a model of other bars, where it says of which."""
    definitions = card.spec["definitions"]
    for key in ("thickness", "bar_low", "bar_high"):
        trained, found = definitions.get(f"{key}_mm"), getattr(config, key)
        if trained is not None and trained != found:
            message = (
                f"bundle {path} was trained on bars with {key} {trained} mm, the configuration "
                f"says {found} mm; set the key {key!r}, or take another bundle"
            )
            raise ConfigurationError(message)
    trained = definitions.get("gap_mm")
    if config.gap is not None and trained is not None and trained != config.gap:
        message = (
            f"bundle {path} says that its gun stood {trained} mm before the bar, the configuration "
            f"says gap {config.gap} mm; leave out the key 'gap'"
        )
        raise ConfigurationError(message)
