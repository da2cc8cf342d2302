"""Numbers of photons, contexts of both ends, the order in time."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from flows.noise import Identity
from flows.resident import resident
from processors.counters import Counters
from processors.identity import EventIds
from processors.jagged import Flat
from processors.timing import sensors
from processors.timing.conditions import CONTEXT, conditions_of
from processors.timing.config import TimingConfig
from processors.timing.hits import BarHits, bar_hits, photon_yield
from processors.timing.processor import Timing
from processors.timing.reading import OPTICAL
from processors.timing.sensors import (
    BELOW_ONE,
    COUNTERS,
    MOST_SAMPLES,
    Seen,
    _depth,
    _quantile,
    contexts,
    poisson,
    see,
)
from samples.timing import bar as toy

NUMBERS = 20_000


def someone(number: int) -> Identity:
    row, zero = np.arange(number), np.zeros(number, dtype=np.int64)
    return Identity(1, "bars", "PhotonTime", zero, zero, row, zero, zero)


@pytest.mark.parametrize("mean", [1e-6, 0.01, 0.7, 3.0, 47.0, 900.0, 2e5])
def test_numbers_have_poissons_distribution(mean):
    numbers = poisson(np.full(NUMBERS, mean), someone(NUMBERS))
    # four standard deviations of a mean and, by the fourth moment, of a variance
    assert numbers.mean() == pytest.approx(mean, abs=4 * np.sqrt(mean / NUMBERS))
    spread = np.sqrt((mean + 2 * mean**2) / NUMBERS)
    assert numbers.var() == pytest.approx(mean, abs=4 * spread)
    edges = np.unique(stats.poisson.ppf(np.linspace(0.05, 0.95, 10), mean))
    found = np.array([(numbers <= edge).mean() for edge in edges])
    # four standard deviations of a share
    assert np.abs(found - stats.poisson.cdf(edges, mean)).max() < 4 * np.sqrt(0.25 / NUMBERS)


@pytest.mark.parametrize("mean", [1e-6, 0.3, 2.0, 47.0, 900.0, 2e5])
def test_a_number_is_the_first_that_reaches_the_probability(mean):
    edges = [2.0**-54, 2.0**-40, 1e-6, 1 - 2.0**-40, BELOW_ONE]
    uniform = np.concatenate([edges, np.random.default_rng(1).random(2000)])
    number = _quantile(uniform, np.full(len(uniform), mean))
    assert np.all(stats.poisson.cdf(number, mean) >= uniform)
    assert np.all((number == 0) | (stats.poisson.cdf(number - 1, mean) < uniform))


@pytest.mark.timeout(30)
def test_means_without_bound_give_numbers_all_the_same():
    numbers = poisson(np.array([1e9, 1e12, 1e16, 1e18, np.inf]), someone(5))
    # eight standard deviations, as far as 53 bits go
    assert numbers == pytest.approx(1e9, abs=8.3 * 1e9**0.5)


@pytest.mark.timeout(30)
def test_photons_beyond_the_noise_of_a_hit_are_counted_however_many_are_expected():
    seen, counters = light_of(muons([0.0], [90.0], np.ones(1), 1e15))
    assert seen.counts.tolist() == [[MOST_SAMPLES] * 2]
    beyond = counters["objects.Photon.beyond_limit"]
    assert beyond == pytest.approx(2 * (1e9 - MOST_SAMPLES), abs=2 * 8.3 * 1e9**0.5)


def test_an_event_may_have_more_hits_than_noise_has_positions():
    """32,768 hits at two sensors fill the positions; the others have noise of their own."""
    number, room = 33_000, 1 << 15
    hits = bar_hits(deposits([number], particle=np.arange(number)), TimingConfig(), Counters())
    seen, _ = light_of(hits)
    few, _ = light_of(hits.take(np.arange(room), hits.event[:room], 1))
    assert np.array_equal(few.counts, seen.counts[:room])
    assert np.array_equal(few.delays, seen.delays[: len(few.delays)])
    again = seen.delays[len(few.delays) :]
    # equal hits: what repeats would repeat from the beginning
    assert not np.array_equal(seen.counts[room:], seen.counts[: number - room])
    # float32 times of some ns coincide now and then
    assert np.mean(again == seen.delays[: len(again)]) < 0.01


def test_nothing_expected_nothing_drawn_and_a_number_belongs_to_its_hit():
    assert not poisson(np.zeros(100), someone(100)).any()
    assert poisson(np.zeros(0), someone(0)).shape == (0,)
    mean = np.linspace(0.1, 50, 100)
    chosen = np.arange(99, -1, -7)
    whole = poisson(mean, someone(100))
    assert np.array_equal(poisson(mean[chosen], someone(100).take(chosen)), whole[chosen])


def test_the_yield_is_that_of_the_sample():
    energy, distance = np.random.default_rng(1).uniform([[1e-4], [0]], [[0.1], [1505]], (2, 100))
    assert np.array_equal(photon_yield(energy, distance), toy.photon_yield(energy, distance))


def deposits(counts, **columns) -> Flat:
    """Hits of the first particle in bar 0 but for ``columns``."""
    number = int(np.sum(counts))
    values = {
        "cellID": np.zeros(number, dtype=np.uint64),
        "EDep": np.full(number, 1e-3, dtype=np.float32),
        "time": np.zeros(number, dtype=np.float32),
        "position.x": np.full(number, 1770.3),
        "position.y": np.zeros(number),
        "position.z": np.zeros(number),
        "momentum.x": np.ones(number, dtype=np.float32),
        "momentum.y": np.zeros(number, dtype=np.float32),
        "momentum.z": np.zeros(number, dtype=np.float32),
        "particle": np.zeros(number, dtype=np.int64),
        "pdg": np.full(number, 13),
        "origin": np.zeros(number, dtype=np.int64),
    }
    return Flat(np.asarray(counts), values | {k: np.asarray(v) for k, v in columns.items()})


def light_of(hits: BarHits, **options) -> tuple[Seen, Counters]:
    """What the included model draws for hits, what is counted."""
    counters, events = Counters(dict.fromkeys(COUNTERS, 0)), len(hits.counts)
    zero, fold = np.zeros(events, dtype=np.uint32), np.zeros(len(hits.event), dtype=np.int64)
    ids = EventIds(zero, zero, np.arange(events, dtype=np.uint64), digested=True)
    model, config = resident(Timing.default_bundles()[0], "cpu"), TimingConfig(**options)
    return see(hits, fold, ids, model, config, "bars", counters), counters


def muons(z, theta, p, energy=2e-3) -> BarHits:
    """One muon per event in bar 0: mm, degrees, GeV, GeV deposited."""
    angle, number = np.radians(theta), len(z)
    momentum = {"x": np.sin(angle) * p, "y": np.zeros(number), "z": np.cos(angle) * p}
    columns = {f"momentum.{axis}": values for axis, values in momentum.items()}
    columns |= {"position.z": np.asarray(z), "EDep": np.broadcast_to(energy, number)}
    hits = bar_hits(
        deposits(np.ones(number, dtype=np.int64), **columns), TimingConfig(), Counters()
    )
    # degrees as they were given, to the last bit
    return hits._replace(theta=np.asarray(theta, dtype=np.float64))


@pytest.mark.parametrize("outside", ["flag", "clip"])
def test_muons_exactly_along_the_bar_are_seen_at_both_ends_and_lie_outside(outside):
    seen, counters = light_of(
        muons([0.0, 0.0, 0.0], [0.0, 180.0, 0.45], np.full(3, 2.0), 0.1), outside=outside
    )
    assert seen.outside.all()
    assert counters["contexts.nonfinite"] == 0
    assert counters["contexts.outside_training_range"] == 6
    # 0.45 degrees from the bar a muon crosses as much of it: the ends stop all of them
    assert np.isfinite(seen.mean).all()
    assert seen.mean[0] == pytest.approx(seen.mean[2], rel=0.1)
    assert seen.mean[1] == pytest.approx(seen.mean[2, ::-1], rel=0.1)
    assert (seen.counts > 0).all()


def watched(monkeypatch) -> list[np.ndarray]:
    """What the included model is given from now on: conditions and numbers, call after call."""
    model, given = resident(Timing.default_bundles()[0], "cpu"), []
    draw = model.sample_repeated

    def drawing(conditions, counts, identity, **options):
        given.append((conditions.copy(), counts))
        return draw(conditions, counts, identity, **options)

    monkeypatch.setattr(model, "sample_repeated", drawing)
    return given


MIXED = (
    [100.0, -500.0, 0.0, 700.0],
    [0.2, 60.0, 179.9, 0.6],
    np.array([30.0, 2.0, 0.05, 50.0]),
)
"""Muons of which the second alone is inside the training ranges."""


def test_clipped_contexts_are_those_of_a_track_and_first_light_is_counted_of_them(monkeypatch):
    flagged, counters = light_of(muons(*MIXED), outside="flag")
    assert flagged.outside.tolist() == [[True, True], [False, False], [True, True], [True, True]]
    given, lit = watched(monkeypatch), []

    def counting(layout, conditions, *photons):
        lit.append(conditions.copy())
        return 0

    monkeypatch.setattr(sensors, "count_before_light", counting)
    clipped, clipping = light_of(muons(*MIXED), outside="clip")
    card = resident(Timing.default_bundles()[0], "cpu").card
    edges = np.array([(card.ranges[name].low, card.ranges[name].high) for name in CONTEXT])
    context = clipped.contexts.reshape(-1, 3)
    expected = conditions_of(card, np.clip(context, *edges.T))
    assert np.array_equal(given[0][0], expected)
    assert np.array_equal(lit[0], expected)
    assert np.array_equal(clipped.outside, flagged.outside)
    name = "contexts.outside_training_range"
    assert clipping[name] == clipping["contexts.clipped"] == counters[name] == 6
    assert np.array_equal(clipped.contexts, flagged.contexts)
    assert np.array_equal(clipped.counts[1], flagged.counts[1])


def test_nothing_is_drawn_or_counted_of_contexts_that_are_dropped(monkeypatch):
    energy = np.array([1e3, 2e-3, 1e3, 1e3])
    flagged, counters = light_of(muons(*MIXED, energy), outside="flag")
    assert counters["objects.Photon.beyond_limit"] > 0
    given = watched(monkeypatch)
    dropped, counters = light_of(muons(*MIXED, energy), outside="drop")
    assert given[0][1].tolist() == [0, 0, *flagged.counts[1], 0, 0, 0, 0]
    assert counters["objects.Photon.beyond_limit"] == 0
    assert counters["contexts.dropped"] == 6
    assert counters["objects.Photon.out"] == flagged.counts[1].sum() == len(dropped.delays)
    first = int(flagged.counts[0].sum())
    assert np.array_equal(dropped.delays, flagged.delays[first : first + len(dropped.delays)])


def test_deposits_of_a_particle_in_a_bar_are_summed_the_first_tells_where():
    layer = np.uint64(1 << 12)
    hits = deposits(
        [4, 0, 3],
        cellID=np.array([0, 0, layer, 1 << 22, 0, 0, 0], dtype=np.uint64),
        EDep=np.arange(1, 8, dtype=np.float32),
        time=np.array([5, 4, 1, 6, 2, 3, 1], dtype=np.float32),
        particle=np.array([0, 0, 0, 0, 1, 0, 1]),
        **{"position.z": np.arange(7.0), "pdg": np.array([13, 13, 13, 13, 11, 13, 11])},
    )
    counters = Counters()
    found = bar_hits(hits, TimingConfig(), counters)
    # the sensor's bits do not make another bar
    assert found.counts.tolist() == [2, 0, 2]
    assert found.energy.tolist() == [7.0, 3.0, 6.0, 12.0]
    assert found.z.tolist() == [1.0, 2.0, 5.0, 6.0]
    assert found.time.tolist() == [4.0, 1.0, 3.0, 1.0]
    assert found.bar.tolist() == [0, int(layer), 0, 0]
    assert found.particle.tolist() == [0, 0, 0, 1]
    assert found.index.tolist() == [0, 1, 0, 1]
    assert counters["objects.Hit.not_muon"] == 1
    assert counters["objects.Hit.out"] == counters["objects.Hit.in"] == 4


def test_hits_that_make_no_light_are_counted():
    hits = deposits(
        [6],
        cellID=np.arange(6, dtype=np.uint64) << np.uint64(12),
        EDep=np.array([1, 1, 0, np.nan, 1, 1], dtype=np.float32),
        **{
            "position.z": np.array([0, 771.0, 0, 0, 0, -735.0]),
            "momentum.x": np.array([1, 1, 1, 1, 0, 1], dtype=np.float32),
        },
    )
    counters = Counters()
    found = bar_hits(hits, TimingConfig(), counters)
    assert found.index.tolist() == [0, 5]
    counted = {name: counters[f"objects.Hit.{name}"] for name in ("in", "out", "not_finite")}
    assert counted == {"in": 6, "out": 2, "not_finite": 2}
    assert counters["objects.Hit.outside_bar"] == counters["objects.Hit.without_energy"] == 1


def test_hits_of_late_decays_that_no_clock_tells_apart_are_counted():
    times = np.array([1e14, 1e20, -1e20, 1e30, np.inf, 5], dtype=np.float32)
    counters = Counters()
    found = bar_hits(deposits([6], time=times, particle=np.arange(6)), TimingConfig(), counters)
    assert found.index.tolist() == [0, 5]
    assert counters["objects.Hit.beyond_clock"] == 3
    assert counters["objects.Hit.not_finite"] == 1


def test_photons_are_no_deposits():
    found = bar_hits(deposits([3], pdg=np.full(3, OPTICAL)), TimingConfig(), Counters())
    assert len(found.event) == 0
    assert found.counts.tolist() == [0]


def test_the_low_end_sees_the_mirror_image():
    hits = bar_hits(
        deposits(
            [2],
            cellID=np.array([0, 1 << 12], dtype=np.uint64),
            **{"position.z": np.array([100.0, -300.0]), "momentum.z": np.array([1.0, -2.0])},
        ),
        TimingConfig(),
        Counters(),
    )
    given = contexts(hits, 5.0, TimingConfig())
    high, low = given[:, 1], given[:, 0]
    assert high[0] == pytest.approx([105.0, 45.0, np.sqrt(2)])
    assert high[1] == pytest.approx([-310.0, np.degrees(np.arctan2(1, -2)), np.sqrt(5)])
    # z_low + z_high is 35: not the sign of z alone
    assert low[:, 0] == pytest.approx(35.0 - high[:, 0])
    assert low[:, 1] == pytest.approx(180.0 - high[:, 1])
    assert np.array_equal(low[:, 2], high[:, 2])
    moved = contexts(hits, 5.0, TimingConfig(hit_depth=5.0))
    assert moved[:, 1, 0] == pytest.approx([100.0, -300.0])


@pytest.mark.parametrize(
    ("definitions", "config", "depth"),
    [
        ({"lever_arm_mm": 6.0}, {}, 5.0),
        ({"lever_arm_mm": 6.0}, {"gap": 2.0}, 4.0),
        ({"lever_arm_mm": 6.0, "gap_mm": 3.0}, {}, 3.0),
    ],
)
def test_z_of_a_model_lies_behind_the_entrance_by_its_lever_arm_without_the_gap(
    definitions, config, depth
):
    model = SimpleNamespace(card=SimpleNamespace(spec={"definitions": definitions}))
    assert _depth(model, TimingConfig(**config)) == depth
