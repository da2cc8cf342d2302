"""Philox words and normal numbers on a device, made where they are used.

The words are those of :func:`flows.noise.words`; normals follow the same formula in double
precision, rounded once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flows.gpu import Value, constexpr, jit, place_of, tl

__all__ = ["device_normals", "device_words"]

QUARTETS = 256
"""Counters of one program."""


@jit
def _draw(
    keys: Value,
    counters: Value,
    attempts: Value,
    out: Value,
    quartets: Value,
    blocks: Value,
    dims: Value,
    NORMAL: constexpr,
    SIZE: constexpr,
) -> Value:
    """Fill ``out`` ``(n, dims)`` from one counter for four dimensions."""
    number = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    live = number < quartets
    row = number // blocks
    block = number % blocks
    c0 = tl.load(counters + 3 * row, live, 0).to(tl.uint32)
    c1 = tl.load(counters + 3 * row + 1, live, 0).to(tl.uint32)
    c2 = tl.load(counters + 3 * row + 2, live, 0).to(tl.uint32)
    c3 = (block | (tl.load(attempts + row, live, 0) << 16)).to(tl.uint32)
    k0 = tl.load(keys + 2 * row, live, 0).to(tl.uint32)
    k1 = tl.load(keys + 2 * row + 1, live, 0).to(tl.uint32)
    w0, w1, w2, w3 = tl.philox_impl(c0, c1, c2, c3, k0, k1)
    place = row * dims + 4 * block
    left = tl.where(live, dims - 4 * block, 0)
    if NORMAL:
        a0, a1 = _pair(w0, w1)
        a2, a3 = _pair(w2, w3)
        tl.store(out + place, a0, left > 0)
        tl.store(out + place + 1, a1, left > 1)
        tl.store(out + place + 2, a2, left > 2)
        tl.store(out + place + 3, a3, left > 3)
    else:
        tl.store(out + place, w0.to(tl.int64), left > 0)
        tl.store(out + place + 1, w1.to(tl.int64), left > 1)
        tl.store(out + place + 2, w2.to(tl.int64), left > 2)
        tl.store(out + place + 3, w3.to(tl.int64), left > 3)


@jit
def _pair(u: Value, v: Value) -> Value:
    """Box and Muller."""
    radius = tl.sqrt(-2.0 * tl.log((u.to(tl.float64) + 0.5) * 2.3283064365386963e-10))
    angle = (v.to(tl.float64) + 0.5) * 1.4629180792671596e-09
    return (radius * tl.cos(angle)).to(tl.float32), (radius * tl.sin(angle)).to(tl.float32)


def device_words(keys: Tensor, counters: Tensor, attempt: Tensor, dims: int) -> Tensor:
    """Words int64 ``(n, dims)``; the arguments are those of :func:`flows.noise.tensor_words`."""
    out = torch.empty(len(keys), dims, dtype=torch.int64, device=keys.device)
    return _launched(keys, counters, attempt, out, normal=False)


def device_normals(keys: Tensor, counters: Tensor, attempt: Tensor, dims: int) -> Tensor:
    """Standard normals float32 ``(n, dims)`` of the same words."""
    out = torch.empty(len(keys), dims, dtype=torch.float32, device=keys.device)
    return _launched(keys, counters, attempt, out, normal=True)


def _launched(
    keys: Tensor, counters: Tensor, attempt: Tensor, out: Tensor, *, normal: bool
) -> Tensor:
    rows, dims = out.shape
    blocks = -(-dims // 4)
    if out.numel():
        arrays = (keys.contiguous(), counters.contiguous(), attempt.contiguous(), out)
        grid = (-(-rows * blocks // QUARTETS),)
        with place_of(keys):
            _draw[grid](*arrays, rows * blocks, blocks, dims, NORMAL=normal, SIZE=QUARTETS)
    return out
