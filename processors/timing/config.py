"""Configuration of what reads and simulates bars; lengths in mm, angles in degrees, times in ns."""

from __future__ import annotations

import math
from collections import Counter
from functools import cached_property
from typing import Literal, Self

from pydantic import Field, model_validator

from processors.config import FlowConfig, ProcessorConfig
from processors.timing.bar_columns import BAR_COLUMNS
from processors.timing.cells import CellFields
from processors.timing.waveform import Pulse, Readout

__all__ = ["GAP", "BarConfig", "PhotonsConfig", "TimingConfig"]

GAP = 1.0
"""mm from the gun of a training to the bar; RowanKell/work_eic."""
MOST_SAMPLES = 10_000
"""In a sensor's record: 80 kB of memory each; chosen."""
ROUNDING = 1e-6
"""Samples by which a length may miss a multiple: that of decimal fractions."""


class BarConfig(ProcessorConfig):
    """Where bars are; defaults are those of RowanKell/work_eic (``epic_klmws_only``)."""

    hits: str = Field("HcalBarrelHits", description="collection of hits")
    bar_low: float = Field(-735.0, description="z of the low end of a bar, mm")
    bar_high: float = Field(770.0, description="z of the high end, mm")
    thickness: float = Field(10.0, gt=0, description="of a bar, mm")
    block_events: int = Field(2_000, ge=1, description="events held in memory at a time")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.bar_low < self.bar_high:
            message = f"bar_low {self.bar_low} must lie below bar_high {self.bar_high}"
            raise ValueError(message)
        return self


class PhotonsConfig(BarConfig):
    """Configuration of :class:`processors.timing.photons.Photons`.

    The cuts are those of work_eic's ``preprocess_fast.py`` and of its merging step. Its lever arm
    is 6 mm since August 2024, the gap and half of a bar of 10 mm; its ``t_hit`` ends at 0.06 ns.
    """

    entrance: float = Field(1770.3, description="x where particles enter the first bar, mm")
    gap: float = Field(GAP, ge=0, description="from the gun to the bar, mm")
    lever_arm: float = Field(
        1.0,
        ge=0,
        lt=1000,
        description="z of a photon is z of the vertex + this * cot(theta), mm; the gap: where the "
        "muon enters. More puts the z of muons along the bar beyond its ends",
    )
    min_momentum: float = Field(0.1, ge=0, description="GeV")
    max_momentum: float = Field(10.0, description="GeV")
    max_hit_time: float = Field(
        1.0, description="of the entrance after the vertex, ns; 0.06, work_eic's, cuts θ below 3°"
    )
    max_time: float = Field(100.0, description="of a photon, ns")
    most_photons: int = Field(
        256, ge=1, description="photons of a sensor that are kept, evenly spread; all are counted"
    )
    decay_time: float | None = Field(
        None, gt=0, description="of the scintillator, ns: told to the card of a model"
    )


class TimingConfig(BarConfig, FlowConfig):
    """Configuration of :class:`processors.timing.processor.Timing`.

    The cell ids are those of ``samples.timing``: DD4hep's are in the ``<readout>`` of the compact
    file.
    """

    cell: str = Field(
        "system:8,stave:4,layer:6,segment:4,sensor:2", description="fields of a cell id, as DD4hep"
    )
    bar_fields: tuple[str, ...] = Field(
        ("system", "stave", "layer", "segment"), description="fields that tell a bar"
    )
    gap: float | None = Field(
        None,
        ge=0,
        description=f"from the gun of the training to the bar, mm, of models whose card does not "
        f"say; default: {GAP:g}",
    )
    hit_depth: float = Field(
        0.0, description="how far behind the entrance of a bar the position of a hit lies, mm"
    )
    outside: Literal["flag", "clip", "drop"] = Field(
        "flag", description="what becomes of hits outside the training ranges"
    )
    histograms: bool = Field(True, description="compare with photons in the input, if any")
    pulse_rise: float = Field(1.1, gt=0, description="time constant of a photon's signal, ns")
    pulse_fall: float = Field(15.0, description="time constant of its decay, ns")
    sample_interval: float = Field(2.0, gt=0, description="between samples of a sensor, ns")
    window: float = Field(200.0, lt=1e5, description="length of a sensor's record, ns")
    integration: float = Field(100.0, description="length of the part the charge is of, ns")
    fraction: float = Field(
        0.3, gt=0, lt=1, description="of the highest sample, for the constant-fraction time"
    )
    threshold: float = Field(
        2.0, gt=0, description="that a sensor must exceed, in heights of one photon's signal"
    )

    @model_validator(mode="after")
    def _can_be_read_out(self) -> Self:
        if not self.pulse_rise < self.pulse_fall:
            message = (
                f"pulse_rise {self.pulse_rise} must lie below pulse_fall {self.pulse_fall}, ns"
            )
            raise ValueError(message)
        if not self.sample_interval <= self.integration <= self.window:
            message = (
                f"sample_interval {self.sample_interval}, integration {self.integration}, window "
                f"{self.window} must rise, ns"
            )
            raise ValueError(message)
        if self.window / self.sample_interval > MOST_SAMPLES:
            message = (
                f"window {self.window} ns has more than {MOST_SAMPLES:,} samples of "
                f"sample_interval {self.sample_interval} ns; shorten it, or lengthen that"
            )
            raise ValueError(message)
        for name in ("window", "integration"):
            _end_with_a_sample(name, getattr(self, name), self.sample_interval)
        return self

    @model_validator(mode="after")
    def _cells_tell_bars(self) -> Self:
        names = self.bar_fields
        if not names:
            message = "bar_fields is empty: all bars would be one; name the fields that tell a bar"
            raise ValueError(message)
        if repeated := [name for name, times in Counter(names).items() if times > 1]:
            message = f"bar_fields {names} repeats {', '.join(repeated)}; name each field once"
            raise ValueError(message)
        if taken := [name for name in names if name in BAR_COLUMNS]:
            message = (
                f"bar_fields names {', '.join(taken)}, which a row of a bar has already; give "
                "another name to these fields in 'cell' and in 'bar_fields'"
            )
            raise ValueError(message)
        self.fields.mask(names)
        return self

    @cached_property
    def fields(self) -> CellFields:
        """The cell ids' fields."""
        return CellFields.parse(self.cell)

    @cached_property
    def readout(self) -> Readout:
        """How the sensors are read out."""
        pulse = Pulse(self.pulse_rise, self.pulse_fall)
        clock = (self.sample_interval, self.window, self.integration)
        return Readout(pulse, *clock, self.fraction, self.threshold)


def _end_with_a_sample(name: str, length: float, interval: float) -> None:
    """Refuse a length, ns, that would be rounded to whole samples.

    Raises: ValueError naming the lengths beside it.
    """
    samples = length / interval
    if abs(samples - round(samples)) > ROUNDING:
        low, high = (round(edge(samples) * interval, 9) for edge in (math.floor, math.ceil))
        message = (
            f"{name} {length} ns is no multiple of sample_interval {interval} ns; take {low:g} or "
            f"{high:g}"
        )
        raise ValueError(message)
