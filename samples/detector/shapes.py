"""Random shapes that the detector is built from: smooth, heavy-tailed, bounded."""

from __future__ import annotations

import numpy as np

__all__ = ["bernoulli", "expit", "logit", "lognormal", "stretch", "tailed"]


def expit(x: np.ndarray | float) -> np.ndarray:
    """Logistic function, stable for large arguments."""
    return 0.5 * (1.0 + np.tanh(0.5 * np.asarray(x, dtype=np.float64)))


def logit(p: np.ndarray | float) -> np.ndarray:
    """Inverse of ``expit`` for ``p`` inside (0, 1)."""
    p = np.asarray(p, dtype=np.float64)
    return np.log(p) - np.log1p(-p)


def stretch(z: np.ndarray, edge: float, rate: float) -> np.ndarray:
    """Leave ``|z| < edge`` alone and let the rest grow exponentially, with continuous slope.

    Turns a Gaussian into a core with log-normal-like tails, smooth where a double-sided Crystal
    Ball has a kink in the second derivative only.

    Arguments:
        z: Standard normal numbers of any shape.
        edge: Where the tail begins, in standard deviations.
        rate: Growth of the tail per standard deviation; 0 keeps the Gaussian.
    """
    if rate == 0.0:
        return z
    excess = np.maximum(np.abs(z) - edge, 0.0)
    tail = edge + np.expm1(rate * excess) / rate
    return np.where(excess > 0, np.sign(z) * tail, z)


def tailed(
    rng: np.random.Generator | None,
    size: int,
    low: tuple[float, float],
    high: tuple[float, float],
    z: np.ndarray | None = None,
) -> np.ndarray:
    """Double-sided tailed numbers: ``low`` and ``high`` are the (edge, rate) of the two sides.

    Arguments:
        rng: Source of numbers, not used where ``z`` is given.
        size: How many.
        z: Standard normal numbers to shape instead of new ones, so that columns can correlate.
    """
    if z is None:
        if rng is None:
            message = "tailed() needs a generator or standard normal numbers z"
            raise ValueError(message)
        z = rng.standard_normal(size)
    return np.where(z < 0, stretch(z, *low), stretch(z, *high))


def lognormal(rng: np.random.Generator, sigma: np.ndarray | float, size: int) -> np.ndarray:
    """Factors of median 1 with relative width ``sigma``."""
    return np.exp(np.asarray(sigma) * rng.standard_normal(size))


def bernoulli(rng: np.random.Generator, probability: np.ndarray) -> np.ndarray:
    """True with the given probability, one draw per element."""
    return rng.random(len(probability)) < probability
