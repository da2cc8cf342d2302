"""Pulses, their sums, what is read off them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from processors.errors import ConfigurationError
from processors.timing import waveform
from processors.timing.config import TimingConfig
from processors.timing.waveform import Pulse, Readout, read_out, waveforms

READOUT = Readout()
PULSE = READOUT.pulse
DECAYS = ((15.0, 1.0), (1.1, -1.0))
ROUNDING = 1e-12
"""Sums of some hundred numbers of order 1 in double precision, by another way."""


def plain(times, readout=READOUT):
    """Record of one sensor by definition, a loop over photons and samples."""
    start = readout.interval * math.floor(min(times) / readout.interval)
    values = [
        sum(
            math.exp(-(start + k * readout.interval - t) / 15.0)
            - math.exp(-(start + k * readout.interval - t) / 1.1)
            for t in times
            if t <= start + k * readout.interval
        )
        for k in range(readout.samples)
    ]
    peak = math.log(15.0 / 1.1) * 15.0 * 1.1 / (15.0 - 1.1)
    height = math.exp(-peak / 15.0) - math.exp(-peak / 1.1)
    return start, np.array(values) / height


def plain_readout(times, readout=READOUT):
    """Charge, constant-fraction time, leading-edge time by definition."""
    start, values = plain(times, readout)
    last = int(readout.integration / readout.interval)
    charge = np.trapezoid(values[: last + 1], dx=readout.interval)
    found = [charge]
    for level in (readout.fraction * values.max(), readout.threshold):
        found.append(math.nan)
        for k in range(1, readout.samples):
            if values.max() > readout.threshold and values[k] > level:
                share = (level - values[k - 1]) / (values[k] - values[k - 1])
                found[-1] = start + readout.interval * (k - 1 + share)
                break
    return found


def sensors(number=40, mean=30.0, seed=2):
    """Photons as they are: a few ns of rise, a long tail, some sensors dark."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(mean, number)
    counts[[0, 7, number - 1]] = 0
    counts[3] = 1
    lists = [np.sort(rng.exponential(6.0, n) + rng.uniform(-5, 40)) for n in counts]
    return np.concatenate(lists), counts


def one(times, readout=READOUT):
    return read_out(np.asarray(times, dtype=float), np.array([len(times)]), readout)


def test_a_pulse_rises_from_0_to_1_and_has_its_area():
    t = np.linspace(0.0, 300.0, 300_001)
    values = PULSE(t)
    assert values[0] == 0.0
    # the grid is within 0.0005 ns of the peak, which is flat there
    assert values.max() == pytest.approx(1.0, abs=1e-6)
    assert t[values.argmax()] == pytest.approx(PULSE.peak_time, abs=1e-3)
    assert PULSE.peak_time == pytest.approx(3.102, abs=1e-3)
    # trapezoids of 1 ns/1000: error h² / 12 · slope jump (1.1) = 1e-7; the tail is e^-20
    assert np.trapezoid(values, t) == pytest.approx(PULSE.area, abs=1e-6)
    assert np.array_equal(PULSE(np.array([-1.0, -1e-9])), np.zeros(2))


@pytest.mark.parametrize("time", [0.0, 0.3, 1.999, 2.0, 117.2, -0.7, -6.0])
def test_one_photon_is_its_pulse_sampled(time):
    record = waveforms(np.array([time]), np.array([1]), READOUT)
    clock = record.start[0] + 2.0 * np.arange(101)
    assert record.start[0] == 2.0 * math.floor(time / 2.0)
    assert record.values[0] == pytest.approx(PULSE(clock - time), abs=ROUNDING)
    assert record.beyond.tolist() == [0]


def test_one_photon_read_out_by_hand():
    readout = Readout(threshold=0.5)
    found = one([0.0], readout)
    at = PULSE(2.0 * np.arange(51))
    # its highest sample is that at 4 ns, its first that exceeds 0.3 and 0.5 that at 2 ns
    assert at.argmax() == 2
    assert found.fraction[0] == pytest.approx(2.0 * 0.3 * at[2] / at[1], abs=ROUNDING)
    assert found.edge[0] == pytest.approx(2.0 * 0.5 / at[1], abs=ROUNDING)
    # samples 1 to 49 and half of the 50th: two geometric series
    series = sum(
        sign * (-math.expm1(-98 / tau) / math.expm1(2 / tau) + 0.5 * math.exp(-100 / tau))
        for tau, sign in DECAYS
    )
    assert found.charge[0] == pytest.approx(2.0 * PULSE.amplitude * series, rel=ROUNDING)


def test_two_photons_make_the_sum_of_two_pulses():
    record = waveforms(np.array([3.1, 9.4]), np.array([2]), READOUT)
    clock = 2.0 + 2.0 * np.arange(101)
    expected = PULSE(clock - 3.1) + PULSE(clock - 9.4)
    assert record.values[0] == pytest.approx(expected, abs=ROUNDING)


def test_it_is_linear_in_the_photons():
    times, counts = sensors()
    once, thrice = (read_out(np.repeat(times, n), n * counts, READOUT) for n in (1, 3))
    assert thrice.charge == pytest.approx(3 * once.charge, rel=ROUNDING)
    both = np.isfinite(once.fraction)
    assert both.sum() > 30
    assert thrice.fraction[both] == pytest.approx(once.fraction[both], abs=1e-10)
    lowered = read_out(times, counts, Readout(threshold=2.0 / 3))
    assert thrice.edge == pytest.approx(lowered.edge, abs=1e-10, nan_ok=True)


@pytest.mark.parametrize("steps", [1, 50, -9])
def test_a_shift_by_samples_shifts_the_times_alone(steps):
    times, counts = sensors()
    times = np.round(times * 1024) / 1024  # sums with whole numbers are exact
    here, there = read_out(times, counts, READOUT), read_out(times + 2.0 * steps, counts, READOUT)
    assert np.array_equal(there.charge, here.charge)
    for name in ("fraction", "edge"):
        moved = getattr(here, name) + 2.0 * steps
        assert getattr(there, name) == pytest.approx(moved, abs=ROUNDING * 100, nan_ok=True)


def test_all_sensors_equal_the_plain_loops():
    times, counts = sensors()
    found = read_out(times, counts, READOUT)
    ends = np.cumsum(counts)
    for number, (end, count) in enumerate(zip(ends, counts, strict=True)):
        mine = times[end - count : end]
        if not count:
            assert found.charge[number] == 0.0
            assert np.isnan([found.fraction[number], found.edge[number]]).all()
            continue
        charge, fraction, edge = plain_readout(mine.tolist())
        assert found.charge[number] == pytest.approx(charge, rel=1e-11)
        # a level between two samples: their rounding over the slope of some 0.1 per ns
        assert found.fraction[number] == pytest.approx(fraction, abs=1e-9, nan_ok=True)
        assert found.edge[number] == pytest.approx(edge, abs=1e-9, nan_ok=True)
    assert np.isnan(found.fraction[3])


@pytest.mark.parametrize("readout", [READOUT, Readout(window=10.0, integration=10.0)])
def test_tiles_change_no_bit(readout, monkeypatch):
    times, counts = sensors(number=64)
    whole, sizes = read_out(times, counts, readout), []
    made = waveforms

    def watched(photons, mine, how):
        sizes.append((len(photons), len(mine)))
        return made(photons, mine, how)

    monkeypatch.setattr(waveform, "waveforms", watched)
    for tile in (1, 100, 5 * READOUT.samples, 13 * READOUT.samples):
        monkeypatch.setattr(waveform, "TILE", tile)
        sizes.clear()
        for found, expected in zip(read_out(times, counts, readout), whole, strict=True):
            assert found.tobytes() == expected.tobytes()
        assert sum(number for _, number in sizes) == len(counts)
        for photons, number in sizes:
            assert number == 1 or (photons <= tile and number * readout.samples <= tile)


def test_photons_after_the_record_are_counted():
    found = one([1.0, 1.5, 1.7, 199.9, 200.0, 350.0])
    assert found.beyond.tolist() == [2]
    assert found.charge[0] == pytest.approx(one([1.0, 1.5, 1.7]).charge[0], rel=ROUNDING)


def test_below_the_threshold_there_is_no_time_but_a_charge():
    found = one([5.0])
    assert found.charge[0] > 0
    assert np.isnan(found.fraction[0])
    assert np.isnan(found.edge[0])
    # nearly together, two pulses stay below 2, three exceed it
    assert np.isnan(one([5.0, 5.1]).edge[0])
    assert np.isfinite(one([5.0, 5.1, 5.2]).edge[0])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"pulse_rise": 15.0}, "pulse_rise 15.0 must lie below pulse_fall 15.0"),
        ({"integration": 300.0}, "integration 300.0, window 200.0 must rise"),
        ({"sample_interval": 150.0}, "sample_interval 150.0, integration 100.0"),
        ({"sample_interval": 1e-6}, "window 200.0 ns has more than 10,000 samples"),
        ({"integration": 99.0}, "integration 99.0 ns is no multiple .* 2.0 ns; take 98 or 100"),
        ({"sample_interval": 0.3}, "window 200.0 ns is no multiple .* take 199.8 or 200.1"),
        ({"fraction": 1.0}, "fraction"),
        ({"threshold": 0.0}, "threshold"),
    ],
)
def test_what_cannot_be_read_out_is_refused(wrong, said):
    with pytest.raises(ConfigurationError, match=said):
        TimingConfig.from_mapping(wrong)


def test_the_configuration_says_how_to_read_out():
    assert TimingConfig().readout == Readout()
    keys = {"pulse_rise": 1, "pulse_fall": 9, "sample_interval": 3, "window": 90}
    config = TimingConfig(**keys, integration=60, fraction=0.5, threshold=5)
    assert config.readout == Readout(Pulse(1, 9), 3, 90, 60, 0.5, 5)


@pytest.mark.parametrize("interval", [0.02, 0.1, 0.4, 0.8, 2.5])
def test_decimal_fractions_are_no_rounding(interval):
    assert TimingConfig(sample_interval=interval).readout.samples == round(200 / interval) + 1


def test_no_sensors_give_empty_columns():
    found = read_out(np.zeros(0), np.zeros(0, dtype=np.int64), READOUT)
    assert [column.shape for column in found] == [(0,)] * 4


def test_another_pulse_is_sampled_with_its_own_constants():
    readout = Readout(pulse=Pulse(rise=0.5, fall=4.0), interval=1.0)
    record = waveforms(np.array([0.25]), np.array([1]), readout)
    assert record.values[0] == pytest.approx(readout.pulse(np.arange(201.0) - 0.25), abs=ROUNDING)


@pytest.mark.parametrize("late", [1e6, 1e20, 1e38])
def test_a_photon_may_be_as_late_as_it_likes(late):
    early = np.array([1.0, 2.0, 3.0], dtype=np.float32)
    with np.errstate(all="raise"):
        alone = read_out(early, np.array([3]), READOUT)
        found = read_out(np.append(early, np.float32(late)), np.array([4]), READOUT)
    assert found.beyond == 1
    assert found[:3] == alone[:3]
