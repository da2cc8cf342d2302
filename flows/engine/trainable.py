"""A plan whose weights learn: where flows of one project or another are trained further."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flows.engine.context_only import need_one_feature
from flows.engine.plan import Affine, Coupling, Linear, Made, Plan, ResidualNet, Spline
from flows.engine.torch_flow import TorchFlow, scale_of
from flows.spline import spline_forward

__all__ = ["TrainableFlow"]

Array = NDArray[np.float64]


class TrainableFlow(nn.Module):
    """The flow of a plan with its weights as parameters, float32.

    Entries of matrices that are zero stay zero: they are masks. The base stays as it is.

    Arguments:
        plan: Where training starts.
    Raises: ValueError for a network whose last layer is zero, as some libraries begin: which of its
        entries are masks cannot be told, so it would never learn.

    Example:
        >>> from flows.architectures import ConditionalFlow
        >>> from flows.engine.compile_plan import compile_plan
        >>> from flows.spec import FlowSpec
        >>> plan = compile_plan(ConditionalFlow(FlowSpec(features=3, context=2, hidden=16)))
        >>> flow = TrainableFlow(plan)
        >>> density = flow(torch.randn(5, 3), torch.randn(5, 2))
        >>> density.shape, flow.plan().features
        (torch.Size([5]), 3)
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        _need_weights(plan)
        self._start = plan
        self.weights = nn.ParameterList()
        self._places: dict[int, int] = {}
        _mapped(plan.embedding, self._learn)
        _mapped(plan.steps, self._learn)
        self._live = _LiveFlow(self)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """ln p(x | context) ``(n,)`` of ``x`` ``(n, D)``."""
        z, ladj = self._live.to_noise(x, context)
        return ladj + self._live.base_log_prob(z)

    def repeated(self, x: Tensor, context: Tensor) -> Tensor:
        """ln p(x | context) ``(n, k)`` of k values per context ``(n, C)``, networks run once.

        Raises: ValueError unless the flow has one feature.
        """
        need_one_feature(self._start)
        live = self._live
        given, nothing = live.embed(context), x.new_zeros(len(x), 1)
        ladj = torch.zeros_like(x)
        for step in self._start.steps:
            if isinstance(step, Linear):
                x = x * live.tensor(step.matrix)[0, 0] + live.tensor(step.bias)
                ladj = ladj + live.log_det(step)
                continue
            if isinstance(step, Coupling):
                msg = "a coupling has no form for one feature"
                raise ValueError(msg)
            raw = live.evaluate(step.made, nothing, given)
            if isinstance(step, Affine):
                scale = scale_of(raw[:, :1], step)
                bound = step.rule.shift_bound
                x = x * scale + raw[:, 1:].clamp(-bound, bound)
                ladj = ladj + torch.log(scale)
            else:
                x, slope = spline_forward(x, raw, step.bins, step.bound, step.limits)
                ladj = ladj + slope
        density = live.base_log_prob(x.reshape(-1, 1)).reshape(x.shape)
        return ladj + density

    @torch.no_grad()
    def plan(self) -> Plan:
        """The plan at the weights of now."""
        start = self._start
        learnt = _mapped(start.steps, self._learnt)
        steps = tuple(_solved(step) if isinstance(step, Linear) else step for step in learnt)
        return replace(start, embedding=_mapped(start.embedding, self._learnt), steps=steps)

    def parameter_of(self, array: Any) -> Tensor | None:
        """Parameter that stands for an array of the plan, if any does."""
        place = self._places.get(id(array))
        return None if place is None else self.weights[place]

    def _learn(self, array: Array) -> Array:
        parameter = nn.Parameter(torch.from_numpy(array).float())
        mask = torch.from_numpy(array != 0)
        if array.ndim == 2 and not mask.all():
            parameter.register_hook(_Masked(mask))  # type: ignore[no-untyped-call]
        self._places[id(array)] = len(self.weights)
        self.weights.append(parameter)
        return array

    def _learnt(self, array: Array) -> Array:
        values: Array = self.weights[self._places[id(array)]].detach().cpu().double().numpy()
        return np.ascontiguousarray(values)


class _Masked:
    """Gradient of the entries that may differ from zero."""

    def __init__(self, mask: Tensor) -> None:
        self._mask = mask

    def __call__(self, gradient: Tensor) -> Tensor:
        self._mask = self._mask.to(gradient.device)
        return gradient * self._mask


class _LiveFlow(TorchFlow):
    """Plain torch over the parameters of a trainable flow."""

    def __init__(self, owner: TrainableFlow) -> None:
        super().__init__(owner._start)
        self._parameter_of, self._like = owner.parameter_of, owner.weights[0]

    def tensor(self, array: Any) -> Tensor:
        """Parameter of an array; of one that does not learn, its values where the weights are."""
        found = self._parameter_of(array)
        return super().tensor(array).to(self._like.device) if found is None else found

    def log_det(self, step: Linear) -> Tensor:
        """Logarithm of the volume at the weights of now."""
        volume: Tensor = torch.linalg.slogdet(self.tensor(step.matrix)).logabsdet
        return volume


def _need_weights(plan: Plan) -> None:
    for number, step in enumerate(plan.steps):
        if not isinstance(step, Linear) and not _network(step).final.weight.any():
            msg = (
                f"step {number} of the flow has a last layer of zeros: it was never trained, and "
                f"what is a mask cannot be told; start from a flow that was, or train a new one"
            )
            raise ValueError(msg)


def _network(step: Affine | Spline | Coupling) -> Made | ResidualNet:
    return step.net if isinstance(step, Coupling) else step.made


def _mapped(value: Any, change: Callable[[Array], Array]) -> Any:
    """Part of a plan with every array of float64 changed, but for inverses, which follow."""
    if isinstance(value, np.ndarray):
        return change(value) if value.dtype == np.float64 else value
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(_mapped(v, change) for v in value)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    names = [f.name for f in dataclasses.fields(value)]
    kept = {"inverse"} if isinstance(value, Linear) else set()
    return replace(value, **{n: _mapped(getattr(value, n), change) for n in names if n not in kept})


def _solved(step: Linear) -> Linear:
    inverse: Array = np.linalg.inv(step.matrix).astype(np.float64)
    return replace(step, inverse=inverse, log_det=float(np.linalg.slogdet(step.matrix)[1]))
