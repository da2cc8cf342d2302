"""What every processor of this package has in common."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import yaml
from coffea.processor import ProcessorABC
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from processors.errors import ConfigurationError

__all__ = ["Counters", "FlowConfig", "FlowProcessor", "Result"]

Result = dict[str, dict[str, Any]]
"""``{dataset: {"hists": {...}, "counters": {...}, "outputs": [...]}}``; every value adds."""


class Counters(Counter[str]):
    """Numbers of a chunk by name, with a stopwatch per stage."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the wall time of the body to ``seconds.<name>``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self[f"seconds.{name}"] += time.perf_counter() - start


class FlowConfig(BaseModel):
    """Configuration that every processor understands; frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    output: str | None = Field(None, description="directory of the run; none: nothing is written")
    bundles: tuple[str, ...] = Field((), description="paths of the models; empty: the shipped ones")
    bundle_digests: tuple[str, ...] = Field((), description="digests that the models must have")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where models compute")
    seed: int = Field(1, ge=0, lt=2**63, description="seed of every random number")
    format: Literal["root", "parquet", "none"] = Field("root", description="what events become")
    oversample: int = Field(1, ge=1, le=65535, description="simulations per generated event")

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Read what :meth:`to_yaml` wrote.

        Raises: ConfigurationError naming the keys that are wrong.
        """
        return cls.from_mapping(yaml.safe_load(text) or {})

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Validate ``values``.

        Raises: ConfigurationError naming the keys that are wrong.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'value'}: {e['msg']}" for e in error.errors()
            )
            known = ", ".join(cls.model_fields)
            message = f"configuration of {cls.__name__}: {wrong}. Known keys: {known}"
            raise ConfigurationError(message) from None

    def to_yaml(self) -> str:
        """The whole configuration as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


class FlowProcessor(ProcessorABC):
    """A coffea processor with a frozen configuration, small when pickled.

    Subclasses set ``name``, ``summary``, ``Config`` and write ``process``; models are never
    attributes, they come from ``flows.resident`` by path and digest on the worker.
    """

    name: ClassVar[str] = "processor"
    summary: ClassVar[str] = ""
    Config: ClassVar[type[FlowConfig]] = FlowConfig

    def __init__(self, config: FlowConfig | None = None) -> None:
        self.config = config if config is not None else self.Config()

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Build from what the command line collected.

        Arguments:
            options: ``output``, ``bundles``, ``bundle_digests``, ``device``, ``seed``, ``format``,
                ``oversample`` and ``config``, a mapping of further keys that must not repeat them.
        Raises: ConfigurationError for an unknown key or a bad value.
        """
        extra = dict(options.get("config") or {})
        values = {key: options[key] for key in FlowConfig.model_fields if key in options}
        twice = sorted(set(extra) & set(values))
        if twice:
            message = f"configuration keys {twice} are options of the command line; give them there"
            raise ConfigurationError(message)
        if values.get("output") is not None:
            values["output"] = str(values["output"])
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
