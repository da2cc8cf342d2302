"""Plans from state dicts of normflows: K × [masked spline, LULinearPermute] over a Gaussian.

Conventions of normflows 1.7.3 (VincentStimper/normalizing-flows): sampling runs the flows in their
order, so data meet the last one first. The context is added to the first layer as it is, and every
block ends in a gate σ(linear(context)). Bins, units, blocks and widths follow from the shapes; the
half-width of the box is stored nowhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from flows.dense import other_than_dense
from flows.engine.plan import Base, Dense, Linear, Made, Plan, Residual, Spline, Step
from flows.engine.weights import CompileError
from flows.spline import MIN_DERIVATIVE, MIN_SIZE, Limits

__all__ = ["TAIL_BOUND", "Sizes", "compile_normflows", "sizes_of", "sizes_of_name"]

TAIL_BOUND = 3.0
"""normflows' default half-width of the box."""
DIAGONAL = 1e-3
"""normflows adds this to the diagonal of every LU."""
LIMITS = Limits(MIN_SIZE, MIN_SIZE, MIN_DERIVATIVE, math.inf)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sizes:
    """Hyper-parameters of a flow; ``None`` where they are not known.

    Attributes:
        flows: K, pairs of a spline and a linear layer.
        blocks: Residual blocks of every network.
        hidden: Units of every layer.
        context: Columns of the context.
    """

    flows: int | None = None
    blocks: int | None = None
    hidden: int | None = None
    context: int | None = None

    def contradiction(self, other: Sizes) -> str | None:
        """Say where both know a number and differ, or ``None``."""
        for name in ("flows", "blocks", "hidden", "context"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if None not in (mine, theirs) and mine != theirs:
                return f"{name} {mine} against {theirs}"
        return None


_WORDS = {"context": "context", "flows": "flows", "blocks": "hl", "hidden": "hu"}


def sizes_of_name(name: str) -> Sizes:
    """Read the hyper-parameters in a file name of RowanKell/work_eic.

    Example:
        >>> sizes_of_name("run_3_3context_1flows_10hl_128hu_2000bs.pth")
        Sizes(flows=1, blocks=10, hidden=128, context=3)
    """
    found = {key: re.search(rf"(\d+){word}(?![a-z])", name) for key, word in _WORDS.items()}
    return Sizes(**{key: int(match[1]) for key, match in found.items() if match})


def sizes_of(state: Mapping[str, Tensor]) -> Sizes:
    """Read the hyper-parameters in the shapes of a state dict.

    Raises: CompileError unless it is one of this architecture.
    """
    reader = _Reader(state)
    flows = reader.flows()
    net = f"flows.{flows[0]}.mprqat.autoregressive_net"
    hidden, _ = reader.shape(f"{net}.initial_layer.weight", 2)
    given = f"{net}.context_layer.weight"
    context = reader.shape(given, 2)[1] if given in state else 0
    return Sizes(len(flows), len(reader.blocks(net)), hidden, context)


def compile_normflows(
    state: Mapping[str, Tensor], expected: Sizes | None = None, tail_bound: float = TAIL_BOUND
) -> Plan:
    """Write a state dict of ``ConditionalNormalizingFlow`` as a plan.

    Arguments:
        state: Of ``normflows.ConditionalNormalizingFlow(DiagGaussian, K × [
            AutoregressiveRationalQuadraticSpline, LULinearPermute])``.
        expected: What is known of the hyper-parameters, such as from the file's name.
        tail_bound: Half-width of the box of every spline.
    Raises: CompileError if keys or shapes do not belong together, or contradict what is expected.
    """
    found = sizes_of(state)
    contradiction = None if expected is None else found.contradiction(expected)
    if contradiction is not None:
        msg = (
            f"the shapes of the weights contradict what is said of them: {contradiction}; the "
            f"file was renamed or holds another model"
        )
        raise CompileError(msg)
    reader = _Reader(state)
    (features,) = reader.shape("flows.1.permutation._permutation", 1)
    context = found.context or 0
    steps: list[Step] = []
    for i in reversed(reader.flows()):
        steps.append(_linear(reader, i + 1, features))
        steps.append(_spline(reader, i, features, context, tail_bound))
    base = _base(reader, features)
    reader.finish()
    return Plan(features, context, (), tuple(steps), base)


class _Reader:
    """A state dict that remembers what was read."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self._state, self._read = state, set[str]()

    def peek(self, name: str) -> Tensor:
        if name not in self._state:
            msg = (
                f"tensor {name!r} is missing: not a state dict of splines and LULinearPermute in "
                f"turns over a DiagGaussian"
            )
            raise CompileError(msg)
        tensor = self._state[name]
        kind = other_than_dense(tensor)
        if kind is not None:
            msg = f"tensor {name!r} is {kind}; save the weights dense, as real numbers"
            raise CompileError(msg)
        return tensor

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        """Shape of a tensor that sizes follow from: so many dimensions, none of them empty."""
        found = tuple(self.peek(name).shape)
        if len(found) != dimensions or 0 in found:
            msg = (
                f"tensor {name!r} has shape {found}, expected a {dimensions}-dimensional one, not "
                f"empty: not a state dict of such a flow"
            )
            raise CompileError(msg)
        return found

    def take(self, name: str, *shape: int) -> Any:
        tensor = self.peek(name)
        if tuple(tensor.shape) != shape:
            msg = f"tensor {name!r} has shape {tuple(tensor.shape)}, expected {shape}"
            raise CompileError(msg)
        self._read.add(name)
        values = tensor.detach().cpu()
        return (values.double() if values.is_floating_point() else values.long()).numpy().copy()

    def dense(self, name: str, outputs: int, inputs: int) -> Dense:
        return Dense(
            self.take(f"{name}.weight", outputs, inputs), self.take(f"{name}.bias", outputs)
        )

    def masked(self, name: str, outputs: int, inputs: int) -> tuple[Dense, NDArray[np.int64]]:
        """Weights with their mask applied, and the degrees of the outputs."""
        dense = self.dense(name, outputs, inputs)
        mask = self.take(f"{name}.mask", outputs, inputs)
        return Dense(dense.weight * mask, dense.bias), self.take(f"{name}.degrees", outputs)

    def flows(self) -> list[int]:
        """Positions of the splines: every second flow."""
        found = {int(m[1]) for k in self._state if (m := re.match(r"flows\.(\d+)\.", k))}
        if sorted(found) != list(range(len(found))) or len(found) % 2 or not found:
            msg = f"flows {sorted(found)} are not pairs of a spline and a linear layer"
            raise CompileError(msg)
        return list(range(0, len(found), 2))

    def blocks(self, net: str) -> list[int]:
        pattern = re.compile(re.escape(net) + r"\.blocks\.(\d+)\.")
        return sorted({int(m[1]) for k in self._state if (m := pattern.match(k))})

    def finish(self) -> None:
        unknown = sorted(set(self._state) - self._read)
        if unknown:
            msg = f"tensors {unknown[:5]} ({len(unknown)} in all) belong to no known part"
            raise CompileError(msg)


def _base(reader: _Reader, features: int) -> Base:
    loc, log_scale = (reader.take(f"q0.{n}", 1, features)[0] for n in ("loc", "log_scale"))
    return Base(loc, np.exp(log_scale))


def _linear(reader: _Reader, i: int, features: int) -> Linear:
    order = reader.take(f"flows.{i}.permutation._permutation", features)
    if sorted(order.tolist()) != list(range(features)):
        msg = f"flows.{i} permutes {features} features by {order.tolist()}"
        raise CompileError(msg)
    part, entries = f"flows.{i}.linear", features * (features - 1) // 2
    lower, upper = np.eye(features), np.zeros((features, features))
    lower[np.tril_indices(features, -1)] = reader.take(f"{part}.lower_entries", entries)
    upper[np.triu_indices(features, 1)] = reader.take(f"{part}.upper_entries", entries)
    raw = reader.take(f"{part}.unconstrained_upper_diag", features)
    diagonal = np.logaddexp(0.0, raw) + DIAGONAL
    upper += np.diag(diagonal)
    permutation = np.eye(features)[order.astype(np.int64)]
    inverse = permutation.T @ np.linalg.solve(upper, np.linalg.inv(lower))
    bias = reader.take(f"{part}.bias", features)
    return Linear(lower @ upper @ permutation, inverse, bias, float(np.log(diagonal).sum()))


def _spline(reader: _Reader, i: int, features: int, context: int, bound: float) -> Spline:
    net = f"flows.{i}.mprqat.autoregressive_net"
    final, _ = reader.shape(f"{net}.final_layer.weight", 2)
    outputs, rest = divmod(final, features)
    bins, odd = divmod(outputs + 1, 3)
    if rest or odd or bins < 1:
        msg = (
            f"{net} has {final} outputs for {features} features, not 3 K - 1 each: no linear tails"
        )
        raise CompileError(msg)
    return Spline(_made(reader, net, features, context, outputs), bins, bound, LIMITS)


def _made(reader: _Reader, net: str, features: int, context: int, outputs: int) -> Made:
    hidden, _ = reader.shape(f"{net}.initial_layer.weight", 2)
    first, before = reader.masked(f"{net}.initial_layer", hidden, features)
    order = np.argsort(before, kind="stable")
    given = reader.dense(f"{net}.context_layer", hidden, context) if context else None
    blocks = tuple(
        _residual(reader, f"{net}.blocks.{b}", order, before, context)
        for b in _whole(reader.blocks(net), net)
    )
    last, _ = reader.masked(f"{net}.final_layer", outputs * features, hidden)
    return Made(
        first=_picked(first, order),
        context=None if given is None else _picked(given, order),
        degrees=before[order],
        rectified=False,
        blocks=blocks,
        final=Dense(np.ascontiguousarray(last.weight[:, order]), last.bias),
        context_rectified=False,
    )


def _residual(
    reader: _Reader, name: str, order: Any, before: NDArray[np.int64], context: int
) -> Residual:
    hidden = len(order)
    inner, degrees = reader.masked(f"{name}.linear_layers.0", hidden, hidden)
    outer, after = reader.masked(f"{name}.linear_layers.1", hidden, hidden)
    if not np.array_equal(after, before):
        msg = f"{name} changes the degrees of its units, so its sum has none"
        raise CompileError(msg)
    inside = np.argsort(degrees, kind="stable")
    gate = reader.dense(f"{name}.context_layer", hidden, context) if context else None
    return Residual(
        scale=np.ones(hidden),
        shift=np.zeros(hidden),
        inner=Dense(inner.weight[inside][:, order], inner.bias[inside]),
        context=np.zeros((hidden, 0)),
        outer=Dense(outer.weight[order][:, inside], outer.bias[order]),
        degrees=degrees[inside],
        gate=None if gate is None else _picked(gate, order),
    )


def _picked(dense: Dense, rows: Any) -> Dense:
    return Dense(np.ascontiguousarray(dense.weight[rows]), dense.bias[rows])


def _whole(blocks: list[int], net: str) -> Iterator[int]:
    if blocks != list(range(len(blocks))):
        msg = f"{net} has blocks {blocks}, some are missing"
        raise CompileError(msg)
    return iter(blocks)
