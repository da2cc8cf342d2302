"""What the sensors at both ends of a bar see: numbers of photons, contexts, times."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy.special import ndtri, pdtr

from flows.noise import Identity, words
from processors.counters import Counters
from processors.identity import EventIds
from processors.timing.before_light import COUNTER as BEFORE_LIGHT
from processors.timing.before_light import count_before_light
from processors.timing.conditions import CONTEXT, along, conditions_of
from processors.timing.config import GAP, TimingConfig
from processors.timing.definitions import depth
from processors.timing.hits import BarHits, photon_yield

__all__ = ["COUNTERS", "LOW_HIGH", "Model", "Seen", "contexts", "poisson", "see"]

LOW_HIGH = ("low", "high")
"""The two sensors, in the order of rows."""
COLLECTION, NUMBER = "PhotonTime", "number"
"""Names that the noise of the photons' times, of their number belongs to."""
MOST_SAMPLES = 4 << 16
"""Photons of a hit at a sensor that there is noise for; more are counted, not made."""
MOST_EXPECTED = 1e9
"""Mean number above which it makes no difference: by far more than is made, and a step of one still
moves Poisson's probability by more than its rounding; chosen."""
INDEX_BITS = 16
"""Of the position that noise belongs to."""
BELOW_ONE = 1.0 - 2.0**-53
"""Largest number below 1: half a step under it is not representable."""
CHANGED = {"clip": "contexts.clipped", "drop": "contexts.dropped"}
"""Counters of contexts outside the training ranges by what becomes of them."""
COUNTERS = (
    "objects.Photon.out",
    "objects.Photon.negative",
    "objects.Photon.nonfinite",
    "objects.Photon.clipped",
    "objects.Photon.beyond_limit",
    "contexts.in",
    "contexts.nonfinite",
    "contexts.outside_training_range",
    *CHANGED.values(),
)


class Model(Protocol):
    """What is needed of ``flows.flowsampler.FlowSampler``."""

    card: Any
    digest: str
    counts_samples: bool

    def outside_training_range(self, conditions: np.ndarray) -> np.ndarray:
        """Tell which contexts have a condition outside its training range."""
        ...

    def mean_numbers(self, conditions: np.ndarray, *, outside: Any) -> Any:
        """Mean number of photons per GeV of every context."""
        ...

    def sample_repeated(
        self, conditions: np.ndarray, counts: np.ndarray, identity: Identity, *, outside: Any
    ) -> Any:
        """Draw several samples per context."""
        ...


class Seen(NamedTuple):
    """Photons of hits, two rows per hit: low end, high end.

    Attributes:
        mean: Expected numbers, ``(n, 2)``.
        counts: Drawn numbers of photons, ``(n, 2)``.
        outside: Context outside the training range, ``(n, 2)``.
        contexts: z in mm, θ in degrees, p in GeV where the model has its z, ``(n, 2, 3)``; as they
            are, also where the model is given others.
        delays: Times of the photons after the entrance of the particle, ns, ``(counts.sum(),)``,
            those of a row next to each other.
    """

    mean: np.ndarray
    counts: np.ndarray
    outside: np.ndarray
    contexts: np.ndarray
    delays: np.ndarray


def contexts(hits: BarHits, depth: float, config: TimingConfig) -> np.ndarray:
    """Contexts of both sensors, ``(n, 2, 3)``: that at high z, and its mirror image.

    Arguments:
        hits: Particles in bars.
        depth: How far behind the entrance the model's z lies, mm.
        config: Geometry.
    """
    z = hits.z + along(hits.theta, depth - config.hit_depth)
    mirrored = config.bar_low + config.bar_high - z
    low = np.stack([mirrored, 180.0 - hits.theta, hits.p], axis=1)
    high = np.stack([z, hits.theta, hits.p], axis=1)
    return np.stack([low, high], axis=1)


def see(
    hits: BarHits,
    fold: np.ndarray,
    ids: EventIds,
    model: Model,
    config: TimingConfig,
    dataset: str,
    counters: Counters,
) -> Seen:
    """Draw the photons of every hit at both sensors.

    Arguments:
        hits: Particles in bars; their events are rows of ``ids``.
        fold: Oversampling copy of each hit, ``(n,)``.
        ids: Identity of the events.
        model: Times of photons at the sensor at high z.
        config: Geometry, seed, what to do outside the training ranges.
        dataset: Name of the dataset.
        counters: :data:`COUNTERS` are added to.
    """
    context = contexts(hits, _depth(model, config), config)
    flat = context.reshape(-1, context.shape[-1])
    given = conditions_of(model.card, flat)
    outside, how = model.outside_training_range(given), "flag"
    if config.outside == "clip":
        given, how = conditions_of(model.card, _clipped(model.card, flat, outside)), "clip"
    mean = _means(hits, given, model, config, how, counters)
    identity = _identity(hits, fold, ids, config.seed, dataset)
    usable = np.isfinite(given).all(axis=1)
    seeing = usable & ~outside if config.outside == "drop" else usable
    wanted = poisson(np.where(seeing, mean.ravel(), 0.0), identity)
    counts = np.minimum(wanted, MOST_SAMPLES)
    counters["objects.Photon.beyond_limit"] += int((wanted - counts).sum())
    drawn = model.sample_repeated(given, counts, identity, outside=how)
    counters.model(model.digest, drawn.work)
    delays = drawn.targets
    finite = np.isfinite(delays)
    counters["objects.Photon.nonfinite"] += int((~finite).sum())
    if not finite.all():
        row = np.repeat(np.arange(len(counts)), counts)
        counts, delays = np.bincount(row[finite], minlength=len(counts)), delays[finite]
    _count_contexts(counters, usable, outside, config)
    counters["objects.Photon.clipped"] += drawn.counters["clipped"]
    counters["objects.Photon.out"] += len(delays)
    counters["objects.Photon.negative"] += int((delays < 0).sum())
    early = count_before_light(model.card.layout, given, counts, delays)
    if early is not None:
        counters[BEFORE_LIGHT] += early
    shape = mean.shape
    return Seen(mean, counts.reshape(shape), outside.reshape(shape), context, delays)


def _clipped(card: Any, contexts: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Contexts ``(n, 3)``, those outside the training ranges moved to their edges."""
    ranges = (card.ranges.get(name) for name in CONTEXT)
    low, high = zip(*((one.low, one.high) if one else (-np.inf, np.inf) for one in ranges))
    return np.where(outside[:, None], np.clip(contexts, low, high), contexts)


def _depth(model: Model, config: TimingConfig) -> float:
    """How far behind the entrance of a bar the model's z lies, mm."""
    gap = GAP if config.gap is None else config.gap
    return depth({"gap_mm": gap, **model.card.spec["definitions"]})


def _means(
    hits: BarHits,
    given: np.ndarray,
    model: Model,
    config: TimingConfig,
    how: str,
    counters: Counters,
) -> np.ndarray:
    """Mean numbers of photons ``(n, 2)``: as learnt, else by work_eic's formula."""
    if model.counts_samples:
        found = model.mean_numbers(given, outside=how)
        counters.model(model.digest, found.work)
        return found.per_exposure.reshape(-1, len(LOW_HIGH)) * hits.energy[:, None]
    distance = np.stack([hits.z - config.bar_low, config.bar_high - hits.z], axis=1)
    return photon_yield(hits.energy[:, None], distance)


def poisson(mean: np.ndarray, identity: Identity) -> np.ndarray:
    """Numbers with a Poisson distribution, from 53 random bits that belong to each identity.

    Arguments:
        mean: ``(n,)``, at least 0; more than :data:`MOST_EXPECTED` counts as that.
        identity: ``(n,)``.
    """
    attempt = np.zeros(len(mean), dtype=np.int64)
    bits = words(identity.keys(NUMBER), identity.counters(), 2, attempt)
    uniform = ((bits[:, 0] << 21 | bits[:, 1] >> 11) + 0.5) * 2.0**-53
    numbers = _quantile(np.minimum(uniform, BELOW_ONE), np.minimum(mean, MOST_EXPECTED))
    return numbers.astype(np.int64)


def _quantile(uniform: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Lowest numbers up to which a Poisson distribution has the probability ``uniform``.

    Cornish and Fisher's expansion hits all but one in a hundred or is one beside it; steps from
    there.
    """
    normal = ndtri(uniform)
    near = mean + np.sqrt(mean) * normal + (normal**2 - 1.0) / 6.0
    number = np.where(mean > 0, np.maximum(np.ceil(near - 0.5), 0.0), 0.0)
    enough = pdtr(number, mean) >= uniform
    low, high = np.flatnonzero(~enough), np.flatnonzero(enough & (number > 0))
    while len(low):
        number[low] += 1
        low = low[pdtr(number[low], mean[low]) < uniform[low]]
    while len(high):
        high = high[pdtr(number[high] - 1, mean[high]) >= uniform[high]]
        number[high] -= 1
        high = high[number[high] > 0]
    return number


def _identity(hits: BarHits, fold: np.ndarray, ids: EventIds, seed: int, dataset: str) -> Identity:
    """Whose noise it is, ``(2 n,)``.

    Noise numbers 2¹⁶ objects of an event. Further ones go to further luminosity blocks: simulated
    events have none, their digest tells them.
    """
    row = np.repeat(hits.event, len(LOW_HIGH))
    number = (hits.index[:, None] * len(LOW_HIGH) + np.arange(len(LOW_HIGH))).ravel()
    return Identity(
        seed=seed,
        dataset=dataset,
        collection=COLLECTION,
        run=ids.run[row],
        luminosity_block=ids.luminosity_block[row] + (number >> INDEX_BITS),
        event=ids.event[row],
        index=number & (1 << INDEX_BITS) - 1,
        fold=np.repeat(fold, len(LOW_HIGH)),
    )


def _count_contexts(
    counters: Counters, usable: np.ndarray, outside: np.ndarray, config: TimingConfig
) -> None:
    counters["contexts.in"] += usable.size
    counters["contexts.nonfinite"] += int((~usable).sum())
    counters["contexts.outside_training_range"] += int(outside.sum())
    if config.outside in CHANGED:
        counters[CHANGED[config.outside]] += int(outside.sum())
