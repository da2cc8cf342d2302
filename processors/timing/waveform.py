"""Signals of light sensors: pulses of all their photons summed, sampled, read out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from flows.warm import compiled_first
from processors.jagged import counts_to_offsets
from processors.timing.waveform_kernels import fill_places, fill_records, fill_signals

__all__ = ["Pulse", "Readout", "Signals", "Waveforms", "compile_kernels", "read_out", "waveforms"]

TILE = 1 << 18
"""Samples in memory at a time, and photons if no sensor has more, 2 MB per array; chosen."""


@dataclass(frozen=True)
class Pulse:
    r"""Signal of one photon at a sensor, :math:`A (e^{-t/\tau_f} - e^{-t/\tau_r})`, peak 1.

    Defaults: RowanKell/work_eic, momentum_prediction_util.py, ``SiPMSignalProcessor``.

    Arguments:
        rise: :math:`\tau_r`, ns.
        fall: :math:`\tau_f`, ns, above ``rise``.

    Example:
        >>> pulse = Pulse()
        >>> float(pulse(np.array(pulse.peak_time))), float(pulse(np.array(-1.0)))
        (1.0, 0.0)
    """

    rise: float = 1.1
    fall: float = 15.0

    @cached_property
    def peak_time(self) -> float:
        """Of the highest value after the photon, ns."""
        return float(np.log(self.fall / self.rise) / (1.0 / self.rise - 1.0 / self.fall))

    @cached_property
    def amplitude(self) -> float:
        """Factor A that makes the highest value 1."""
        slow, fast = (np.exp(-self.peak_time / tau) for tau in (self.fall, self.rise))
        return float(1.0 / (slow - fast))

    @property
    def area(self) -> float:
        """Integral to infinity, ns."""
        return self.amplitude * (self.fall - self.rise)

    def __call__(self, lag: np.ndarray) -> np.ndarray:
        """Values ``lag`` ns after the photon, 0 before it, same shape."""
        later = np.maximum(lag, 0.0)
        slow, fast = (np.exp(-later / tau) for tau in (self.fall, self.rise))
        values: np.ndarray = self.amplitude * (slow - fast)
        return values


@dataclass(frozen=True)
class Readout:
    """How a sum of pulses becomes a charge and two times.

    Defaults: as those of :class:`Pulse`; ``interval`` is 0.5 GS/s.

    Arguments:
        pulse: Of one photon.
        interval: Between samples, ns; they lie at whole multiples of it.
        window: Length of the record, ns; it begins with the last sample before the first photon.
        integration: Length of the part that the charge is of, ns, from its beginning.
        fraction: Of the highest sample, where the constant-fraction time is.
        threshold: That the highest sample must exceed, where the leading-edge time is; 1 is the
            height of one photon's pulse.
    """

    pulse: Pulse = Pulse()
    interval: float = 2.0
    window: float = 200.0
    integration: float = 100.0
    fraction: float = 0.3
    threshold: float = 2.0

    @property
    def samples(self) -> int:
        """In a record, that at its beginning, which is 0, included."""
        return round(self.window / self.interval) + 1


class Waveforms(NamedTuple):
    """Records of sensors.

    Attributes:
        start: Time of the first sample, ns, ``(n,)``; 0 without photons.
        values: ``(n, n_samples)``, 1 being the height of one photon's pulse; the first is 0.
        beyond: Photons after the last sample, ``(n,)``.
    """

    start: np.ndarray
    values: np.ndarray
    beyond: np.ndarray


class Signals(NamedTuple):
    """What is read off the records, ``(n,)``.

    Attributes:
        charge: Integral, ns times the height of one photon's pulse; 0 without photons.
        fraction: Constant-fraction time, ns, NaN below the threshold.
        edge: Leading-edge time, ns, NaN below the threshold.
        beyond: Photons after the record.
    """

    charge: np.ndarray
    fraction: np.ndarray
    edge: np.ndarray
    beyond: np.ndarray


def waveforms(times: np.ndarray, counts: np.ndarray, readout: Readout) -> Waveforms:
    """Sum the pulses of every sensor's photons.

    Each photon is added to the sample behind it, with the height its two exponentials have there;
    from sample to sample both decay by a constant. So a photon costs two exponentials however many
    samples its pulse covers, and its time counts exactly, not to the sample.

    Arguments:
        times: Of the photons, ns, finite, rising within a sensor, ``(counts.sum(),)``.
        counts: Photons per sensor, ``(n,)``.
        readout: Shape and clock.
    """
    exact = np.ascontiguousarray(times, dtype=np.float64)
    offsets, shape = counts_to_offsets(counts), (len(counts), readout.samples)
    start, values = np.zeros(len(counts)), np.empty(shape)
    beyond = np.zeros(len(counts), dtype=np.int64)
    place, lag = np.empty(len(exact), dtype=np.int64), np.empty(len(exact))
    fill_places(exact, offsets, readout.interval, readout.samples, start, place, lag, beyond)
    pulse = readout.pulse
    heights = [np.exp(-lag / tau) for tau in (pulse.fall, pulse.rise)]
    decays = [float(np.exp(-readout.interval / tau)) for tau in (pulse.fall, pulse.rise)]
    fill_records(place, offsets, *heights, *decays, pulse.amplitude, values)
    return Waveforms(start, values, beyond)


def read_out(times: np.ndarray, counts: np.ndarray, readout: Readout) -> Signals:
    """Charge and times of every sensor, a bounded number of them at a time.

    Arguments:
        times: As :func:`waveforms` takes them.
        counts: Photons per sensor, ``(n,)``.
        readout: Shape, clock, thresholds.
    """
    offsets = counts_to_offsets(counts)
    step = max(TILE // readout.samples, 1)
    tiles, begin = [], 0
    while begin < len(counts):
        fit = int(np.searchsorted(offsets, offsets[begin] + TILE, side="right")) - 1
        end = min(max(fit, begin + 1), begin + step, len(counts))
        photons = times[offsets[begin] : offsets[end]]
        tiles.append(_read(waveforms(photons, counts[begin:end], readout), readout))
        begin = end
    if not tiles:
        nothing = np.zeros(0)
        return Signals(nothing, nothing, nothing, np.zeros(0, dtype=np.int64))
    return Signals(*(np.concatenate(column) for column in zip(*tiles, strict=True)))


def _read(records: Waveforms, readout: Readout) -> Signals:
    found = np.empty((3, len(records.start)))
    last = round(readout.integration / readout.interval)
    thresholds = readout.fraction, readout.threshold
    fill_signals(records.values, records.start, readout.interval, last, *thresholds, found)
    return Signals(*found, records.beyond)


def compile_kernels() -> None:
    """Compile the loops before threads ask for them."""
    nothing = np.zeros(0)
    readout = Readout()
    compiled_first(_read, waveforms(nothing, nothing.astype(np.int64), readout), readout)
