"""Signals of light sensors: pulses of all their photons summed, sampled, read out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from processors.jagged import counts_to_offsets, event_index

__all__ = ["Pulse", "Readout", "Signals", "Waveforms", "read_out", "waveforms"]

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
        values: ``(n_samples, n)``, 1 being the height of one photon's pulse; the first is 0.
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
    number, samples, interval = len(counts), readout.samples, readout.interval
    sensor, exact = event_index(counts), times.astype(np.float64)
    slot = np.floor(exact / interval).astype(np.int64)
    first = np.zeros(number, dtype=np.int64)
    some = counts > 0
    first[some] = slot[counts_to_offsets(counts)[:-1][some]]
    place = slot - first[sensor] + 1
    inside = place < samples
    beyond = np.bincount(sensor[~inside], minlength=number)
    if not inside.all():
        sensor, exact, slot, place = (v[inside] for v in (sensor, exact, slot, place))
    lag = (slot + 1) * interval - exact
    cell = place * number + sensor
    parts = []
    for tau in (readout.pulse.fall, readout.pulse.rise):
        # without photons bincount gives whole numbers
        sums = np.bincount(cell, np.exp(-lag / tau), samples * number).astype(float, copy=False)
        part = sums.reshape(samples, number)
        decay = np.exp(-interval / tau)
        for k in range(1, samples):
            part[k] += decay * part[k - 1]
        parts.append(part)
    slow, fast = parts
    return Waveforms(first * interval, readout.pulse.amplitude * (slow - fast), beyond)


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
    values = records.values
    last = round(readout.integration / readout.interval)
    # the first sample is 0, so the trapezoid rule halves the last one only; rows are added one by
    # one because numpy's own sum depends on how many sensors lie side by side
    charge = readout.interval * (sum(values[1:last]) + 0.5 * values[last])
    highest = values.max(axis=0)
    high = highest > readout.threshold
    level = np.full(len(highest), readout.threshold)
    times = [
        records.start + readout.interval * _crossing(values, one)
        for one in (readout.fraction * highest, level)
    ]
    fraction, edge = (np.where(high, one, np.nan) for one in times)
    return Signals(charge, fraction, edge, records.beyond)


def _crossing(values: np.ndarray, level: np.ndarray) -> np.ndarray:
    """First rise above a level, in samples, on the straight line between two, ``(n,)``.

    Where nothing exceeds the level the result means nothing.
    """
    column = np.arange(values.shape[1])
    after = np.maximum((values > level).argmax(axis=0), 1)
    low, high = values[after - 1, column], values[after, column]
    rise = high - low
    share = np.divide(level - low, rise, out=np.zeros_like(rise), where=rise != 0)
    place: np.ndarray = after - 1 + share
    return place
