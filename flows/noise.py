"""Counter-based random numbers that belong to a simulated object, never to a chunk or a worker.

Words come from Philox 4x32-10 (Salmon et al., *Parallel random numbers: as easy as 1, 2, 3*,
SC 2011, doi:10.1145/2063384.2063405). The layout is frozen: known answers in the tests hold it.

- Key (64 bit): BLAKE2b of (seed, dataset, collection, purpose, run, luminosity block), each field
  written with its length in front, hashed once per distinct (run, luminosity block).
- Counter (128 bit), four words: event low, event high, index | fold << 16, block | attempt << 16.

Four words of a counter serve four consecutive dimensions. All integer steps work on 64-bit arrays
of numpy or torch alike, so the words are the same everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flows.noise_kernels import (
    MULTIPLIERS,
    ROUNDS,
    WEYL,
    fill_normals,
    fill_uniforms,
    fill_words,
)
from flows.warm import compiled_first

__all__ = [
    "Identity",
    "NoiseOverflowError",
    "compile_kernels",
    "key_of",
    "normals",
    "normals_from_words",
    "philox",
    "row_normals",
    "row_uniforms",
    "tensor_words",
    "uniforms",
    "uniforms_from_words",
    "words",
]

Array = TypeVar("Array", NDArray[Any], Tensor)

MASK32 = 0xFFFFFFFF
PERSON = b"flashbrew-noise1"
DIMENSIONS_PER_BLOCK = 4


class NoiseOverflowError(ValueError):
    """A field of the key or counter does not fit the bits it has."""


@dataclass(frozen=True)
class Identity:
    """Who the noise belongs to: one row per simulated object.

    Arguments:
        seed: Seed of the run, 0 to 2⁶⁴ − 1.
        dataset: Name of the dataset (never a path).
        collection: Name of the simulated collection.
        run: Run number of every row, below 2³².
        luminosity_block: Luminosity block of every row, below 2³².
        event: Event number of every row, below 2⁶⁴.
        index: Position in the source collection before any selection, below 2¹⁶.
        fold: Number of the oversampling copy, below 2¹⁶.
    Shapes: the five arrays are ``(n,)`` integers.
    Raises: NoiseOverflowError if a number does not fit; ValueError on shapes or types.

    Example:
        >>> one = np.zeros(1, dtype=np.int64)
        >>> muon = Identity(1, "ttbar", "Muon", one, one, one, one, one)
        >>> bool(uniforms(muon, "efficiency", 1)[0, 0] == uniforms(muon, "efficiency", 2)[0, 0])
        True
    """

    seed: int
    dataset: str
    collection: str
    run: NDArray[Any]
    luminosity_block: NDArray[Any]
    event: NDArray[Any]
    index: NDArray[Any]
    fold: NDArray[Any]

    def __post_init__(self) -> None:
        rows = len(np.asarray(self.event))
        for name, bits in _FIELD_BITS.items():
            array = _checked(name, getattr(self, name), rows, bits)
            object.__setattr__(self, name, array)
        _fits("seed", [int(self.seed)], 64)

    def __len__(self) -> int:
        return len(self.event)

    def take(self, rows: NDArray[Any]) -> Identity:
        """Keep the rows of a boolean mask or integer index ``rows``, in that order."""
        picked = {name: getattr(self, name)[rows] for name in _FIELD_BITS}
        return Identity(self.seed, self.dataset, self.collection, **picked)

    def keys(self, purpose: str) -> NDArray[np.int64]:
        """Key words of every row for one purpose, ``(n, 2)``, each below 2³²."""
        groups = (self.run << np.uint64(32)) | self.luminosity_block
        distinct, inverse = np.unique(groups, return_inverse=True)
        name = (self.seed, self.dataset, self.collection, purpose)
        table = [key_of(*name, group >> 32, group & MASK32) for group in distinct.tolist()]
        return _split(np.array(table, dtype=np.uint64)[inverse])

    def counters(self) -> NDArray[np.int64]:
        """First three counter words of every row, ``(n, 3)``, each below 2³²."""
        object_word = (self.index | (self.fold << np.uint64(16))).astype(np.int64)
        return np.concatenate([_split(self.event), object_word[:, None]], axis=1)


_FIELD_BITS = {"run": 32, "luminosity_block": 32, "event": 64, "index": 16, "fold": 16}


def _checked(name: str, values: NDArray[Any], rows: int, bits: int) -> NDArray[np.uint64]:
    array = np.asarray(values)
    if array.ndim != 1 or len(array) != rows:
        msg = f"noise field {name!r} has shape {array.shape}, expected ({rows},): one per object"
        raise ValueError(msg)
    if array.dtype.kind not in "iub":
        msg = f"noise field {name!r} has type {array.dtype}, expected integers"
        raise ValueError(msg)
    if rows:
        _fits(name, (int(array.min()), int(array.max())), bits)
    return array.astype(np.uint64)


def _fits(name: str, values: Iterable[int], bits: int) -> None:
    for value in values:
        if not 0 <= value < 1 << bits:
            msg = f"noise field {name!r} is {value}, outside 0 to 2^{bits} - 1: noise would repeat"
            raise NoiseOverflowError(msg)


def _split(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    low = (values & np.uint64(MASK32)).astype(np.int64)
    high = (values >> np.uint64(32)).astype(np.int64)
    return np.stack([low, high], axis=1)


def key_of(
    seed: int, dataset: str, collection: str, purpose: str, run: int, luminosity_block: int
) -> int:
    """Key of one group: BLAKE2b (8 bytes) over its fields, each behind its length in bytes.

    Numbers are 8 bytes, little endian; text is UTF-8; lengths are 8 bytes, little endian.

    Example:
        >>> key_of(1, "ab", "c", "flow", 1, 1) == key_of(1, "a", "bc", "flow", 1, 1)
        False
    """
    digest = hashlib.blake2b(digest_size=8, person=PERSON)
    numbers = {"seed": (seed, 64), "run": (run, 32), "luminosity_block": (luminosity_block, 32)}
    for name, (value, bits) in numbers.items():
        _fits(name, [value], bits)
    fields: tuple[int | str, ...] = (seed, dataset, collection, purpose, run, luminosity_block)
    for field in fields:
        encoded = field.encode() if isinstance(field, str) else field.to_bytes(8, "little")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return int.from_bytes(digest.digest(), "little")


def philox(counter: tuple[Array, ...], key: tuple[Array, ...]) -> tuple[Array, ...]:
    """Ten rounds of Philox 4x32 on four counter words with two key words.

    The words sit in signed 64-bit arrays (numpy or torch) that broadcast against each other. A
    product of two words may wrap around the sign bit; its low 64 bits are right all the same.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        first, second = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0 = ((second >> 32) & MASK32) ^ c1 ^ k0
        c2 = ((first >> 32) & MASK32) ^ c3 ^ k1
        c1, c3 = second & MASK32, first & MASK32
        k0, k1 = (k0 + WEYL[0]) & MASK32, (k1 + WEYL[1]) & MASK32
    return c0, c1, c2, c3


def words(keys: Array, counters: Array, dims: int, attempt: Array) -> Array:
    """Random words ``(n, dims)``, each below 2³², in a 64-bit integer array like the arguments.

    Arguments:
        keys: ``(n, 2)`` from :meth:`Identity.keys`.
        counters: ``(n, 3)`` from :meth:`Identity.counters`.
        dims: How many words per row; at most 4 · 2¹⁶.
        attempt: ``(n,)`` number of the try, below 2¹⁶.
    """
    _check_draw(dims, attempt)
    if not isinstance(keys, Tensor):
        drawn = np.empty((len(keys), dims), dtype=np.int64)
        fill_words(*map(np.ascontiguousarray, (keys, counters, attempt)), drawn)
        return drawn
    if keys.device.type == "cpu":
        return _filled(fill_words, keys, counters, dims, attempt, torch.int64)
    kernels = _kernels(keys)
    return (kernels.device_words if kernels else tensor_words)(keys, counters, attempt, dims)


def row_uniforms(keys: Tensor, counters: Tensor, dims: int, attempt: Tensor) -> Tensor:
    """Make the uniforms of :func:`words`, float32 ``(n, dims)``, where the arguments are."""
    if keys.device.type != "cpu":
        return uniforms_from_words(words(keys, counters, dims, attempt))
    _check_draw(dims, attempt)
    return _filled(fill_uniforms, keys, counters, dims, attempt, torch.float32)


def row_normals(keys: Tensor, counters: Tensor, dims: int, attempt: Tensor) -> Tensor:
    """Make standard normals of :func:`words`, float32 ``(n, dims)``, where the arguments are."""
    _check_draw(dims, attempt)
    if keys.device.type == "cpu":
        return _filled(fill_normals, keys, counters, dims, attempt, torch.float32)
    kernels = _kernels(keys)
    if kernels:
        normal: Tensor = kernels.device_normals(keys, counters, attempt, dims)
        return normal
    even = dims + dims % 2
    return normals_from_words(tensor_words(keys, counters, attempt, even))[:, :dims]


def _filled(
    fill: Callable[..., None],
    keys: Tensor,
    counters: Tensor,
    dims: int,
    attempt: Tensor,
    dtype: torch.dtype,
) -> Tensor:
    """What a kernel makes of rows in the processor's memory."""
    made = torch.empty((len(keys), dims), dtype=dtype)
    fill(*(t.contiguous().numpy() for t in (keys, counters, attempt)), made.numpy())
    return made


def _kernels(keys: Tensor) -> Any:
    """Kernels for the device of a tensor, if any; on the processor triton is never imported."""
    if keys.device.type == "cpu":
        return None
    from flows import noise_triton
    from flows.gpu import kernels_for

    return noise_triton if kernels_for(keys.device) else None


def compile_kernels() -> None:
    """Compile what draws on the processor before threads ask for it."""
    rows = torch.zeros(0, 3, dtype=torch.int64)
    for draw in (words, row_uniforms, row_normals):
        compiled_first(draw, rows[:, :2], rows, 1, rows[:, 0])


def _check_draw(dims: int, attempt: Any) -> None:
    _fits("block", [max(-(-dims // DIMENSIONS_PER_BLOCK) - 1, 0)], 16)
    if len(attempt):
        _fits("attempt", (int(attempt.min()), int(attempt.max())), 16)


def tensor_words(keys: Tensor, counters: Tensor, attempt: Tensor, dims: int) -> Tensor:
    """Compute :func:`words` in plain torch, on any device."""
    blocks = -(-dims // DIMENSIONS_PER_BLOCK)
    block = torch.arange(blocks, dtype=torch.int64, device=keys.device)[None, :]
    last = block | (attempt[:, None] << 16)
    first = [counters[:, i : i + 1] | (block & 0) for i in range(3)]
    quartets = philox((*first, last), (keys[:, 0:1], keys[:, 1:2]))
    return torch.stack(quartets, -1).reshape(len(keys), -1)[:, :dims]


def uniforms_from_words(word: Array) -> Array:
    """Float32 in the open interval (0, 1) from the top 23 bits: every step is exact.

    Example:
        >>> uniforms_from_words(np.array([0, 2**32 - 1])).tolist() == [2.0**-24, 1 - 2.0**-24]
        True
    """
    if isinstance(word, Tensor):
        return ((word >> 9).to(torch.float32) + 0.5) * 2.0**-23
    return ((word >> 9).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-23)


def normals_from_words(word: Array) -> Array:
    """Standard normal float32 by Box and Muller, from words ``(n, 2 m)`` to normals ``(n, 2 m)``.

    Logarithm, sine and cosine are taken in double precision and rounded once, so two backends
    differ by one unit in the last place at most. All 32 bits count: the largest value is 6.66.
    """
    u, v = word[:, 0::2], word[:, 1::2]
    if isinstance(word, Tensor):
        radius = torch.sqrt(-2.0 * torch.log((u.to(torch.float64) + 0.5) * 2.0**-32))
        angle = (v.to(torch.float64) + 0.5) * (2.0**-31 * np.pi)
        pairs = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], -1)
        return pairs.to(torch.float32).reshape(word.shape)
    radius = np.sqrt(-2.0 * np.log((u.astype(np.float64) + 0.5) * 2.0**-32))
    angle = (v.astype(np.float64) + 0.5) * (2.0**-31 * np.pi)
    both = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
    return both.astype(np.float32).reshape(word.shape)


def _identity(identity: Identity, purpose: str, attempt: int) -> tuple[Tensor, Tensor, Tensor]:
    """Keys, counters and attempt of every row."""
    attempts = torch.full((len(identity),), attempt)
    keys, counters = identity.keys(purpose), identity.counters()
    return torch.from_numpy(keys), torch.from_numpy(counters), attempts


def uniforms(
    identity: Identity,
    purpose: str,
    dims: int,
    *,
    attempt: int = 0,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Uniform numbers of every row for one purpose, float32 ``(n, dims)`` inside (0, 1)."""
    keys, counters, tries = (t.to(device) for t in _identity(identity, purpose, attempt))
    return row_uniforms(keys, counters, dims, tries)


def normals(
    identity: Identity,
    purpose: str,
    dims: int,
    *,
    attempt: int = 0,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Standard normal numbers of every row for one purpose, float32 ``(n, dims)``."""
    keys, counters, tries = (t.to(device) for t in _identity(identity, purpose, attempt))
    return row_normals(keys, counters, dims, tries)
