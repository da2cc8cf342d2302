"""Configuration of processors: frozen, validated, written to and read from YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from processors.errors import ConfigurationError

__all__ = ["FlashSimConfig", "FlowConfig", "ProcessorConfig"]


class ProcessorConfig(BaseModel):
    """Configuration that every processor understands; frozen.

    Unknown keys are refused, as are numbers that are not finite.

    A YAML file may hold any of the keys (``to_yaml`` writes all of them); ``description`` of each
    field says what it means.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    output: str | None = Field(None, description="directory of the run; none: nothing is written")
    seed: int = Field(1, ge=0, lt=2**63, description="seed of every random number")

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


class FlowConfig(ProcessorConfig):
    """Configuration of a processor that calls models and writes events."""

    bundles: tuple[str, ...] = Field((), description="paths of the models; empty: the shipped ones")
    bundle_digests: tuple[str, ...] = Field((), description="digests that the models must have")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where models compute")
    format: Literal["root", "parquet", "none"] = Field("root", description="format of the events")
    oversample: int = Field(1, ge=1, le=65535, description="simulations per generated event")


class FlashSimConfig(FlowConfig):
    """Configuration of :class:`FlashSim`; beside the shared keys:

    ``histograms``: false leaves out everything that is compared or drawn: no histograms, no
    figures, and full simulation in the input is not read.

    ``block_events``: events of a chunk that are held in memory at a time. It changes memory and
    speed, never what is written.
    """

    histograms: bool = Field(True, description="fill the validation histograms")
    block_events: int = Field(25_000, ge=1, description="events held in memory at a time")
