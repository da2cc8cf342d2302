"""The networks of one simulated object, from conditions in physics units to its columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from flows.architectures import ConditionalFlow
from flows.bundle import Bundle, BundleError
from flows.categorical import CategoricalHead, CategoricalSampler, encode
from flows.columns import ArrayColumns, Columns, Drawn, TensorColumns
from flows.efficiency import Efficiency
from flows.engine.compile_plan import compile_plan
from flows.engine.cpu_flow import CpuFlow
from flows.engine.device_flow import device_flow
from flows.layout import ObjectLayout
from flows.reference import weights
from flows.spec import ObjectSpec, SpecError

__all__ = ["KIND", "ObjectModel", "ObjectSampler"]

KIND = "object"


class ObjectModel(nn.Module):
    """Efficiency, categorical head and flow behind one layout, with the pile-up profile.

    Arguments:
        layout: Columns with fitted transforms.
        spec: Networks that fit the layout's widths.
        profile: Pile-up rows ``(N, P)`` in the order of ``layout.pileup``; may be empty.
    Raises: SpecError if the networks do not fit the layout.
    """

    def __init__(
        self, layout: ObjectLayout, spec: ObjectSpec, profile: Tensor | None = None
    ) -> None:
        super().__init__()
        _fits(layout, spec)
        self.layout, self.spec = layout, spec
        self.columns = TensorColumns(layout)
        self.efficiency = Efficiency(spec.efficiency)
        self.categories = None if spec.categories is None else CategoricalHead(spec.categories)
        self.flow = None if spec.flow is None else ConditionalFlow(spec.flow)
        empty = torch.zeros(0, len(layout.pileup))
        self.register_buffer("pileup", empty if profile is None else profile)
        self.pileup: Tensor

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of values of every discrete column, the hidden ones included."""
        return tuple(len(c.values) for c in self.layout.discrete)

    def to_tensors(self) -> dict[str, Tensor]:
        """Weights by name, as a bundle stores them."""
        return dict(self.state_dict())

    @staticmethod
    def from_bundle(bundle: Bundle, *, where: str = "bundle") -> ObjectModel:
        """Build the networks of a bundle and load their weights.

        Raises: BundleError if kind, specification, columns or shapes do not belong together.
        """
        card = bundle.card
        if card.kind != KIND:
            msg = f"{where}: expected a model of kind {KIND!r}, found {card.kind!r}; use another"
            raise BundleError(msg)
        try:
            spec = ObjectSpec.from_dict(card.spec)
            model = ObjectModel(card.layout, spec, bundle.tensors.get("pileup"))
        except SpecError as error:
            msg = f"{where}: {error}; the card does not describe a model, fetch the bundle again"
            raise BundleError(msg) from error
        stored = weights(bundle)
        _same_shapes(model.state_dict(), stored, where)
        model.load_state_dict(stored)
        return model.eval()


class ObjectSampler:
    """Everything inference needs of an object's model, weights cut for speed.

    Arguments:
        model: Trained model, already on its device.
    """

    def __init__(self, model: ObjectModel) -> None:
        self.model = model.eval()
        self.head = None if model.categories is None else CategoricalSampler(model.categories)
        self.flow: Callable[[Tensor, Tensor], Tensor] | None = None
        self.way = "none"
        if model.flow is not None:
            self.flow, self.way = _inverse(model.flow)
        on_cpu = model.pileup.device.type == "cpu"
        self.columns: Columns = ArrayColumns(model.layout) if on_cpu else model.columns

    @torch.inference_mode()
    def probability(self, conditions: Tensor) -> tuple[Tensor, Tensor]:
        """p(reconstructed | conditions), float32 ``(n,)``, with the features ``(n, F)``."""
        features = self.columns.features(conditions)
        probability: Tensor = self.model.efficiency(features)
        return probability, features

    @torch.inference_mode()
    def draw(self, features: Tensor, conditions: Tensor, uniform: Tensor, normal: Tensor) -> Drawn:
        """Make categories from uniforms ``(n, K + hidden)`` and targets from normals ``(n, T)``.

        Arguments:
            features: ``(n, F)`` that :meth:`probability` made of the same conditions.
            conditions: ``(n, C)`` in physics units.
        """
        codes = torch.zeros(len(features), 0, dtype=torch.int64, device=features.device)
        context = features
        if self.head is not None:
            codes = self.head(uniform, features)
            context = encode(codes, self.model.sizes, behind=features)
        latent = normal if self.flow is None else self.flow(normal, context)
        return self.columns.to_physics(latent, conditions, codes)


def _inverse(flow: ConditionalFlow) -> tuple[Callable[[Tensor, Tensor], Tensor], str]:
    """Noise ``(n, T)`` and context ``(n, C)`` to data, in the calling thread; what computes it."""
    plan = compile_plan(flow)
    device = next(flow.parameters()).device
    if device.type != "cpu":
        there = device_flow(plan, torch.float32, device)
        return there.inverse, there.way
    compiled = CpuFlow(plan, np.float32)

    def inverse(z: Tensor, context: Tensor) -> Tensor:
        return torch.from_numpy(compiled.inverse(z.numpy(), context.numpy()))

    return inverse, "compiled"


def _fits(layout: ObjectLayout, spec: ObjectSpec) -> None:
    width = sum(c.chain.width for c in layout.conditions)
    sizes = tuple(len(c.values) for c in layout.discrete)
    expected = {
        "efficiency inputs": (width, spec.efficiency.inputs),
        "categories": (sizes or None, spec.categories and spec.categories.sizes),
        "categories context": (sizes and width, spec.categories and spec.categories.context),
        "flow features": (len(layout.targets) or None, spec.flow and spec.flow.features),
        "flow context": (layout.targets and width + sum(sizes), spec.flow and spec.flow.context),
    }
    for name, (needed, found) in expected.items():
        if (needed or None) != (found or None):
            msg = f"{name}: the layout needs {needed}, the specification says {found}"
            raise SpecError(msg)


def _same_shapes(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], where: str) -> None:
    missing, unknown = sorted(expected.keys() - found), sorted(found.keys() - expected)
    if missing or unknown:
        msg = f"{where}: weights lack {missing} and hold unknown {unknown}; fetch the bundle again"
        raise BundleError(msg)
    for name, tensor in expected.items():
        if tensor.shape != found[name].shape or tensor.dtype != found[name].dtype:
            msg = (
                f"{where}: tensor {name!r} expected {tuple(tensor.shape)} {tensor.dtype}, found "
                f"{tuple(found[name].shape)} {found[name].dtype}; weights and card do not match"
            )
            raise BundleError(msg)
