"""Operations do what FlashSim's post-processing does, written here again from its description."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from flows.features import Chain, Spike
from flows.importers.operations import column_of
from flows.importers.source import ForeignModelError

GEN = {"gen": torch.linspace(-2.0, 2.0, 400).double() + 3.0}


def seed(y, operations, scale, limits):
    """FlashSim's way, on numpy."""
    y = y * scale
    clipped = False
    for letter, *rest in operations:
        if letter in ("m", "a", "pmp") and not clipped:
            y, clipped = np.clip(y, *limits), True
        if letter == "i":
            function, (a, b) = {"tan": np.tan, "exp": np.exp, "expm1": np.expm1}[rest[0]], rest[1]
            y = (function(y) - b) / a
        elif letter == "d" and rest[0] is None:
            y = np.rint(y)
        elif letter == "d":
            y = np.where(y <= rest[0][1], rest[1], y)
        elif letter == "lower_b":
            y = np.where(y < rest[0], rest[1], y)
        elif letter == "c":
            y = np.where(y < rest[0], rest[1][0], rest[1][1])
        elif letter == "m":
            y = y * GEN["gen"].numpy()
        elif letter == "a":
            y = y + GEN["gen"].numpy()
        elif letter == "pmp":
            y = np.where(y < -np.pi, y + 2 * np.pi, np.where(y > np.pi, y - 2 * np.pi, y))
        elif letter == "s":
            y, clipped = np.clip(y, *limits), True
        elif letter != "rename":
            y = {"uhf": hadron, "upf": parton, "upu": pileup, "uj": jet}[letter](np.rint(y))
    return y if clipped else np.clip(y, *limits)


def hadron(y):
    return np.where(y <= 2, 0, np.where(y >= 5, 5, 4))


def parton(y):
    y = np.where(y <= 0, 0, y)
    return np.where(y >= 16, 21, np.where((y >= 5) & (y <= 15), 5, y))


def pileup(y):
    y = np.where(y <= 2, 0, np.where(y == 3, 4, np.where(y == 5, 6, y)))
    return np.where(y >= 7, 7, y)


def jet(y):
    y = np.where(y <= 0, 1, np.where(y == 4, 3, np.where(y == 5, 6, y)))
    return np.where(y >= 7, 7, y)


CASES = [
    ([], 0.967, (0.04, 0.967)),
    ([["d", ["-inf", -0.01], -1]], 1.0002, (-1.0, 1.0)),
    ([["d", ["-inf", 0], 0]], 1.05, (0.0, 1.0)),
    ([["i", "tan", [50, -50]]], 1.55, (0.0, 1.0)),
    ([["i", "tan", [150, 0]]], 1.57, (-1.5, 1.5)),
    ([["i", "expm1", [1, 0]]], 0.69, (0.0, 1.0)),
    ([["i", "exp", [10, 0.01]]], 4.0, (0.0, 5.0)),
    ([["i", "expm1", [2, 0.5]]], 1.0, (-1.0, 2.0)),
    ([["d", ["-inf", -7.5], math.log(1e-5)], ["i", "exp", [1, 1e-5]]], 16.0, (0.0, 70.0)),
    ([["c", 0.5, [0, 1]]], 1.5, (0.0, 1.0)),
    ([["c", 0.0, [-1, 1]]], 2.0, (-1.0, 1.0)),
    ([["c", 1.5, [1, 2]]], 2.5, (1.0, 2.0)),
    ([["d", None, None]], 111.7, (1.0, 112.0)),
    ([["uhf"]], 5.5, (0.0, 5.0)),
    ([["upf"]], 21.5, (0.0, 21.0)),
    ([["upu"]], 7.5, (0.0, 7.0)),
    ([["uj"]], 7.5, (0.0, 6.0)),
    ([["i", "tan", [10, -10]], ["m", "gen"]], 1.37, (0.1, 5.0)),
    ([["a", "gen"], ["pmp"], ["rename", "phi"]], 0.4, (-0.4, 0.4)),
    ([["s"], ["m", "gen"], ["lower_b", 0, -10]], 1.0, (-0.5, 1.0)),
]


@pytest.mark.parametrize(("operations", "scale", "limits"), CASES)
def test_columns_come_out_as_in_the_seed(operations, scale, limits):
    # the flow's outputs lie within ±1, where the scale factor put them
    y = np.linspace(-0.99, 0.99, 400)
    column = column_of("x", operations, scale, limits)
    expected = seed(y, [[*o] for o in _numbers(operations)], scale, limits)
    found, _ = Chain(column.transforms).inverse(torch.from_numpy(y), GEN)
    # a hole's constant is kept as float32: 6e-8 of it
    assert np.allclose(found.numpy(), expected, rtol=1e-6, atol=1e-6)
    assert column.name == ("phi" if ["rename", "phi"] in operations else "x")


def _numbers(operations):
    for letter, *rest in operations:
        yield [
            letter,
            *([-np.inf, r[1]] if isinstance(r, list) and r[0] == "-inf" else r for r in rest),
        ]


def test_values_beyond_a_pole_are_clipped_and_marked():
    """FlashSim's tangent jumps there from +∞ to −∞."""
    column = column_of("x", [["i", "tan", [150, 0]]], 1.57, (-1.5, 1.5))
    found, outside = Chain(column.transforms).inverse(torch.tensor([1.01]).double())
    assert found.item() == 1.5
    assert outside.item()


def test_what_the_generator_overwrites_is_told():
    column = column_of("q", [["genow", "gen_q"]], None, None)
    assert column == ("q", (), "gen_q")


def test_a_hole_is_spread_around_its_value():
    spike = column_of("x", [["d", ["-inf", -4], -6.9], ["i", "exp", [1, 1e-3]]]).transforms[1]
    assert isinstance(spike, Spike)
    made = spike.forward(torch.full((3,), spike.at), {}, torch.tensor([0.001, 0.5, 0.999]))
    assert abs(float(made[1]) + 6.9) < 1e-6
    assert (made < -4).all()


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ([["x"]], "unknown; known are"),
        ([[]], "unknown"),
        ([["i", "sin", [1, 0]]], "'sin' is unknown"),
        ([["i", "tan"]], "entry 2 is missing"),
        ([["i", "tan", [0, 1]]], "factor is 0"),
        ([["i", "tan", ["a", 1]]], "expected a number"),
        ([["i", "tan", [1]]], "expected two numbers"),
        ([["d", ["-inf", -4]]], "says not which value"),
        ([["d", [-9, -4], -6.9]], "reaches down"),
        ([["d", None]], "needs the range"),
        ([["s"]], "needs the range"),
        ([["rename", "y"], ["s"]], "renamed last"),
        ([["c", 0.5, [0]]], "two numbers"),
    ],
)
def test_operations_that_cannot_be_read_say_so(operations, message):
    with pytest.raises(ForeignModelError, match=message):
        column_of("x", operations)
