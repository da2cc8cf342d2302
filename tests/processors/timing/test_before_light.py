"""Photons that no light can be: counted against the closed form."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from flows.features import AfterLight
from flows.resident import resident
from processors.timing import sensors
from processors.timing.before_light import COUNTER, count_before_light
from processors.timing.conditions import conditions_of
from processors.timing.processor import Timing


@pytest.fixture(scope="module")
def card():
    return resident(Timing.default_bundles()[0], "cpu").card


@pytest.fixture(scope="module")
def layout(card):
    return card.layout


def contexts_of(number, card):
    rng = np.random.default_rng(4)
    low, high = [-735.0, 1.0, 0.1], [770.0, 179.0, 10.0]
    return conditions_of(card, rng.uniform(low, high, (number, 3)))


def first_light(layout, contexts):
    given = {n: torch.from_numpy(v) for n, v in zip(layout.condition_names, contexts.T)}
    return layout.targets[0].transforms[0].first_light(given).numpy()


def test_photons_before_the_first_light_of_their_row_are_counted(card, layout):
    contexts, counts = contexts_of(500, card), np.random.default_rng(5).integers(0, 9, 500)
    edges = np.repeat(first_light(layout, contexts), counts)
    late = np.arange(len(edges)) % 3 != 0
    delays = (edges + np.where(late, 0.0, -0.01)).astype(np.float32)
    assert count_before_light(layout, contexts, counts, delays) == (~late).sum()


def test_a_context_that_is_no_number_has_no_early_photons(card, layout):
    contexts = contexts_of(3, card)
    contexts[1] = np.nan
    delays = np.full(3, -1.0, dtype=np.float32)
    assert count_before_light(layout, contexts, np.ones(3, dtype=np.int64), delays) == 2
    assert count_before_light(layout, contexts[:0], np.zeros(0, dtype=np.int64), delays[:0]) == 0


def test_a_model_without_first_light_counts_none(card, layout, stack, timing, run_bars):
    (target,) = layout.targets
    assert isinstance(target.transforms[0], AfterLight)
    plain = dataclasses.replace(target, transforms=target.transforms[1:])
    other = dataclasses.replace(layout, targets=(plain,))
    assert count_before_light(other, contexts_of(1, card), np.ones(1, dtype=np.int64), None) is None
    assert COUNTER not in run_bars(timing(), stack)["counters"]


@pytest.mark.parametrize("outside", ["flag", "drop"])
def test_the_processor_counts_those_of_its_model(
    outside, layout, stack, timing, run_bars, monkeypatch
):
    expected = []

    def earlier(layout, contexts, counts, delays):
        """As many ns as bring some before their light."""
        delays = delays - np.float32(0.5)
        below = delays < np.repeat(first_light(layout, contexts).astype(np.float32), counts)
        expected.append(int(below.sum()))
        return count_before_light(layout, contexts, counts, delays)

    monkeypatch.setattr(sensors, "count_before_light", earlier)
    processor = timing({"outside": outside, "block_events": 30}, bundles=Timing.default_bundles())
    counters = run_bars(processor, stack)["counters"]
    assert len(expected) == 3
    assert 0 < counters[COUNTER] == sum(expected) < counters["objects.Photon.out"]
