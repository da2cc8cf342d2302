"""The noise is frozen: known answers, the same on every backend, never shared by two objects."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flows.noise import (
    Identity,
    NoiseOverflowError,
    key_of,
    normals,
    normals_from_words,
    philox,
    row_normals,
    row_uniforms,
    tensor_words,
    uniforms,
    uniforms_from_words,
    words,
)
from flows.noise_kernels import settle_normals

# Random123 1.14.0, examples/kat_vectors, "philox4x32 10"
KNOWN = [
    ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]

# The key was also computed by hashlib alone, from bytes laid out by hand.
FROZEN_KEY = 0x767176DE0770990C
FROZEN_WORDS = [0x8694B902, 0xDE873297, 0x7B1F8277, 0x218061C9, 0x7720F520, 0x08935837]
FROZEN_UNIFORMS = [0.5257068276405334, 0.869250476360321]
FROZEN_NORMALS = [0.7723948, -0.8303188]


def make(**fields: list[int]) -> Identity:
    rows = max(map(len, fields.values()))
    full = {n: [0] * rows for n in ("run", "luminosity_block", "event", "index", "fold")} | fields
    return Identity(7, "ttbar", "Jet", **{n: np.array(v, dtype=np.uint64) for n, v in full.items()})


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
@pytest.mark.parametrize("wrap", [np.array, torch.tensor])
def test_philox_gives_the_published_answers(counter, key, expected, wrap):
    result = philox(tuple(wrap([c]) for c in counter), tuple(wrap([k]) for k in key))
    assert tuple(int(w[0]) for w in result) == expected


def test_key_and_words_of_an_object_are_frozen():
    assert key_of(7, "ttbar", "Jet", "flow", 1, 42) == FROZEN_KEY
    identity = make(run=[1], luminosity_block=[42], event=[2**40 + 5], index=[3], fold=[2])
    drawn = words(identity.keys("flow"), identity.counters(), 6, np.array([1]))
    assert drawn.tolist() == [FROZEN_WORDS]
    assert uniforms(identity, "flow", 2, attempt=1).tolist() == [FROZEN_UNIFORMS]
    assert np.allclose(normals(identity, "flow", 2, attempt=1), [FROZEN_NORMALS], atol=1e-6)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 8},
        {"dataset": "ttba"},
        {"collection": "rJet"},
        {"purpose": "flo"},
        {"run": 2},
        {"luminosity_block": 2},
    ],
)
def test_every_field_of_the_key_counts(other):
    fields = {"seed": 7, "dataset": "ttbar", "collection": "Jet", "purpose": "flow", "run": 1}
    fields |= {"luminosity_block": 1}
    assert key_of(**fields) != key_of(**(fields | other))


@pytest.mark.parametrize("field", ["run", "luminosity_block", "event", "index", "fold"])
def test_every_field_of_an_object_changes_its_noise(field):
    identity = make(**{field: [1, 2]})
    first, second = uniforms(identity, "flow", 8)
    assert not torch.isclose(first, second).any()


def test_noise_depends_on_purpose_and_attempt_but_not_on_the_neighbours():
    identity = make(event=[5, 6, 7], luminosity_block=[1, 2, 1])
    alone = identity.take(np.array([2]))
    assert torch.equal(normals(identity, "flow", 9)[2:], normals(alone, "flow", 9))
    assert not torch.equal(normals(alone, "flow", 9), normals(alone, "categories", 9))
    assert not torch.equal(normals(alone, "flow", 9), normals(alone, "flow", 9, attempt=1))


def test_more_dimensions_extend_the_ones_before():
    identity = make(event=list(range(10)))
    assert torch.equal(uniforms(identity, "flow", 39)[:, :7], uniforms(identity, "flow", 7))
    assert torch.equal(normals(identity, "flow", 39)[:, :7], normals(identity, "flow", 7))


@pytest.mark.parametrize(
    ("field", "value"),
    [("run", 2**32), ("luminosity_block", 2**32), ("index", 2**16), ("fold", 2**16)],
)
def test_a_field_that_overflows_is_refused(field, value):
    with pytest.raises(NoiseOverflowError, match=field):
        make(**{field: [0, value]})


def test_attempt_block_seed_and_negative_numbers_are_refused():
    identity = make(event=[1])
    with pytest.raises(NoiseOverflowError, match="attempt"):
        uniforms(identity, "flow", 1, attempt=2**16)
    with pytest.raises(NoiseOverflowError, match="block"):
        uniforms(identity, "flow", 4 * 2**16 + 1)
    with pytest.raises(NoiseOverflowError, match="seed"):
        key_of(2**64, "a", "b", "c", 0, 0)
    one = np.array([-1])
    with pytest.raises(NoiseOverflowError, match="event"):
        Identity(1, "a", "b", one + 1, one + 1, one, one + 1, one + 1)


def test_lengths_and_types_are_checked():
    zero = np.zeros(2, dtype=np.int64)
    with pytest.raises(ValueError, match="run"):
        Identity(1, "a", "b", zero[:1], zero, zero, zero, zero)
    with pytest.raises(ValueError, match="integers"):
        Identity(1, "a", "b", zero, zero, zero * 0.5, zero, zero)


def test_largest_event_number_is_usable():
    identity = make(event=[2**64 - 1, 2**63, 0])
    assert identity.counters()[0].tolist() == [2**32 - 1, 2**32 - 1, 0]
    assert len(torch.unique(uniforms(identity, "flow", 4))) == 12


@given(
    st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=40).filter(lambda v: len(v) % 2 == 0)
)
def test_backends_agree(values):
    word = np.array([values], dtype=np.int64)
    tensor = torch.from_numpy(word)
    assert np.array_equal(uniforms_from_words(word), uniforms_from_words(tensor).numpy())
    assert np.allclose(normals_from_words(word), normals_from_words(tensor).numpy(), atol=1e-6)
    uniform = uniforms_from_words(word)
    assert ((uniform > 0) & (uniform < 1)).all()
    assert np.isfinite(normals_from_words(word)).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 17), st.integers(0, 2**16 - 1))
def test_compiled_words_are_those_of_torch(seed, dims, attempt):
    draw = np.random.default_rng(seed)
    keys, counters = (draw.integers(0, 2**32, (5, n)) for n in (2, 3))
    tries = np.full(5, attempt)
    arrays = (keys, counters, tries)
    plain = tensor_words(*map(torch.from_numpy, arrays), dims).numpy()
    assert np.array_equal(words(keys, counters, dims, tries), plain)
    assert np.array_equal(
        words(*map(torch.from_numpy, (keys, counters)), dims, torch.from_numpy(tries)), plain
    )


def test_extreme_words_give_finite_normals():
    """Words 0 and 2³² − 1 at all four places: the ends of the logarithm and of the circle."""
    grid = np.array([0, 1, 2**29 - 1, 2**29, 2**30, 2**31 - 1, 2**31, 2**32 - 1], dtype=np.int64)
    u, v = (a.ravel().copy() for a in np.meshgrid(grid, grid))
    expected = normals_from_words(np.stack([u, v], 1)).ravel()
    space, z = np.empty(len(u)), np.empty(2 * len(u))
    settle_normals(u, v, len(u), space, space.view(np.int64), z)
    assert np.abs(z - expected).max() <= 1e-6
    assert np.abs(z).max() > 6.5


@given(st.integers(0, 2**32 - 1), st.integers(1, 17), st.integers(0, 2**16 - 1))
def test_compiled_noise_is_that_of_torch(seed, dims, attempt):
    """Uniforms to the bit; normals to the 1e-6 that backends are allowed, nearly all to the bit."""
    draw = np.random.default_rng(seed)
    keys, counters = (torch.from_numpy(draw.integers(0, 2**32, (5, n))) for n in (2, 3))
    tries = torch.full((5,), attempt)
    word = tensor_words(keys, counters, tries, dims + dims % 2)
    assert torch.equal(
        row_uniforms(keys, counters, dims, tries), uniforms_from_words(word[:, :dims])
    )
    made, plain = row_normals(keys, counters, dims, tries), normals_from_words(word)[:, :dims]
    assert made.dtype == torch.float32
    assert (made - plain).abs().max() <= 1e-6
    assert (made == plain).float().mean() > 0.9


def test_normals_of_a_row_do_not_depend_on_the_number_of_rows():
    identity = make(event=list(range(203)))
    every = normals(identity, "flow", 29)
    for stop in (1, 7, 64, 100, 202):
        part = identity.take(np.arange(stop))
        assert torch.equal(normals(part, "flow", 29), every[:stop])


def test_moments_are_those_of_a_normal():
    identity = make(event=list(range(20_000)))
    drawn = normals(identity, "flow", 8).double()
    assert drawn.mean(0).abs().max() < 5 / 20_000**0.5
    assert (drawn.std(0) - 1).abs().max() < 5 / 40_000**0.5
    correlation = torch.corrcoef(drawn.T) - torch.eye(8)
    assert correlation.abs().max() < 5 / 20_000**0.5


def test_no_rows_give_no_noise():
    identity = make(event=[1]).take(np.zeros(0, dtype=np.int64))
    assert normals(identity, "flow", 3).shape == (0, 3)
