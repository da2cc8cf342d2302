"""What every processor of this package has in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from coffea.processor import ProcessorABC

from processors.config import FlowConfig, ProcessorConfig
from processors.errors import ConfigurationError

__all__ = ["FlowProcessor", "Result"]

Result = dict[str, dict[str, Any]]
"""``{dataset: {"hists": {...}, "counters": {...}, "outputs": [...]}}``; every value adds."""


class FlowProcessor(ProcessorABC):
    """A coffea processor with a frozen configuration, small when pickled.

    Subclasses set ``name``, ``summary``, ``Config`` and write ``process``; models are never
    attributes, they come from ``flows.resident`` by path and digest on the worker.
    """

    name: ClassVar[str] = "processor"
    summary: ClassVar[str] = ""
    Config: ClassVar[type[ProcessorConfig]] = FlowConfig
    tree: ClassVar[str] = "Events"
    """Tree of the input where a fileset or the command line names none."""
    event_columns: ClassVar[tuple[str, ...]] = ("run", "luminosityBlock", "event")
    """Columns that together identify an event; none where the input numbers no events."""

    def __init__(self, config: ProcessorConfig | None = None) -> None:
        self.config = config if config is not None else self.Config()

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Build from what the command line collected.

        Arguments:
            options: The shared keys of :class:`FlowConfig`, of which ``Config`` takes those that
                it has, and ``config``, a mapping of further keys that must not repeat them.
        Raises: ConfigurationError for an unknown key or a bad value.
        """
        extra = dict(options.get("config") or {})
        shared = set(FlowConfig.model_fields) & set(cls.Config.model_fields)
        values = {key: options[key] for key in shared if key in options}
        twice = sorted(set(extra) & set(values))
        if twice:
            message = f"configuration keys {twice} are options of the command line; give them there"
            raise ConfigurationError(message)
        if values.get("output") is not None:
            values["output"] = str(values["output"])
        if "bundles" in shared:
            bundles = values.get("bundles") or cls.default_bundles()
            values["bundles"] = tuple(str(path) for path in bundles)
            values["bundle_digests"] = tuple(values.get("bundle_digests") or ())
        return cls(cls.Config.from_mapping(values | extra))

    @classmethod
    def default_inputs(cls) -> list[Path]:
        """Files processed when none are given."""
        return []

    @classmethod
    def default_bundles(cls) -> list[Path]:
        """Models used when none are given."""
        return []

    @abstractmethod
    def process(self, events: Any) -> Result:
        """Process one chunk of NanoEvents."""

    def postprocess(self, accumulator: Result) -> Result:
        """Return the merged result as it is."""
        return accumulator

    def provenance(self) -> dict[str, Any]:
        """What the run report says about this processor."""
        return {"configuration": self.config.model_dump(mode="json"), "bundles": []}

    def finish(self, accumulator: Result, output_dir: Path) -> dict[str, Any]:
        """Make what needs the merged result; returns the validation section of the report."""
        del accumulator, output_dir
        return {}
