"""Compiled loops over the photons and samples of sensors, one sensor after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from processors.compiled import compiled

__all__ = ["fill_places", "fill_records", "fill_signals"]

BEYOND = -1
"""Place of a photon that is in no sample."""


@compiled
def fill_places(
    times: Any,
    offsets: Any,
    interval: float,
    samples: int,
    start: Any,
    place: Any,
    lag: Any,
    beyond: Any,
) -> None:
    """Find the sample behind each photon.

    Arguments:
        times: Of the photons, ns, rising within a sensor, ``(N,)``.
        offsets: Of the sensors' photons, ``(n + 1,)``.
        interval: Between samples, ns.
        samples: In a record.
        start: Time of the first sample, ``(n,)``, written where there is a photon.
        place: Sample of each photon, :data:`BEYOND` if the record has ended, ``(N,)``, written.
        lag: From the photon to its sample, ns, 0 if the record has ended, ``(N,)``, written.
        beyond: Photons after the record, ``(n,)``, added to.
    """
    for sensor in range(offsets.shape[0] - 1):
        if offsets[sensor] == offsets[sensor + 1]:
            continue
        first = np.floor(times[offsets[sensor]] / interval)
        start[sensor] = first * interval
        for j in range(offsets[sensor], offsets[sensor + 1]):
            # no integers: a photon may be later than they reach
            slot = np.floor(times[j] / interval)
            if 0.0 <= slot - first < samples - 1:
                place[j] = int(slot - first) + 1
                lag[j] = (slot + 1.0) * interval - times[j]
            else:
                place[j], lag[j] = BEYOND, 0.0
                beyond[sensor] += 1


@compiled
def fill_records(
    place: Any,
    offsets: Any,
    slow: Any,
    fast: Any,
    slow_decay: float,
    fast_decay: float,
    amplitude: float,
    values: Any,
) -> None:
    """Sum pulses.

    Arguments:
        place: As :func:`fill_places` writes them.
        offsets: Of the sensors' photons, ``(n + 1,)``.
        slow: What the slow exponential of each photon is at its sample, ``(N,)``.
        fast: Likewise the fast one, which is taken off.
        slow_decay: What is left of it a sample later.
        fast_decay: Likewise.
        amplitude: Of a pulse.
        values: ``(n, n_samples)``, written.
    """
    samples = values.shape[1]
    later = np.empty(samples)
    for sensor in range(values.shape[0]):
        now = values[sensor]
        for k in range(samples):
            now[k] = later[k] = 0.0
        for j in range(offsets[sensor], offsets[sensor + 1]):
            if place[j] != BEYOND:
                now[place[j]] += slow[j]
                later[place[j]] += fast[j]
        for k in range(1, samples):
            now[k] += slow_decay * now[k - 1]
            later[k] += fast_decay * later[k - 1]
        for k in range(samples):
            now[k] = amplitude * (now[k] - later[k])


@compiled
def _crossing(record: Any, level: float) -> Any:
    """First rise above a level, in samples, on the straight line between two.

    Where nothing exceeds the level the result means nothing.
    """
    after = 1
    while after < record.shape[0] - 1 and not record[after] > level:
        after += 1
    rise = record[after] - record[after - 1]
    share = 0.0 if rise == 0.0 else (level - record[after - 1]) / rise
    return after - 1 + share


@compiled
def fill_signals(
    values: Any,
    start: Any,
    interval: float,
    last: int,
    fraction: float,
    threshold: float,
    found: Any,
) -> None:
    """Read charge, constant-fraction time, leading-edge time off every record.

    Arguments:
        values: ``(n, n_samples)``, the first sample is 0.
        start: Time of the first sample, ``(n,)``.
        interval: Between samples, ns.
        last: Sample that the charge ends with.
        fraction: Of the highest sample, for the first time.
        threshold: That it must exceed, and for the second; both times are NaN below.
        found: ``(3, n)``, written.
    """
    for sensor in range(values.shape[0]):
        record, highest, total = values[sensor], 0.0, 0.0
        for k in range(1, record.shape[0]):
            highest = max(highest, record[k])
        # the first sample is 0, so the trapezoid rule halves the last one only
        for k in range(1, last):
            total += record[k]
        found[0, sensor] = interval * (total + 0.5 * record[last])
        found[1, sensor] = found[2, sensor] = np.nan
        if highest > threshold:
            level = fraction * highest
            found[1, sensor] = start[sensor] + interval * _crossing(record, level)
            found[2, sensor] = start[sensor] + interval * _crossing(record, threshold)
