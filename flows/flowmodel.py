"""A trained flow with its columns: contexts in physics units to samples in physics units.

The bundle of this kind holds a plan (:mod:`flows.engine.stored`): ``card.spec["plan"]`` is its
structure, the tensors its arrays; ``card.spec["definitions"]`` says what a column's name alone does
not, such as the lever arm behind a position; ``card.spec["numbers"]``, where it is there, describes
the network of how many samples a context has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from flows.bundle import Bundle, BundleError
from flows.card import Card, Range
from flows.counting import PoissonMean
from flows.engine.plan import Plan
from flows.engine.stored import plan_from_stored, plan_to_stored
from flows.engine.validate import PlanError
from flows.layout import LayoutError, ObjectLayout
from flows.reference import weights
from flows.spec import MlpSpec, SpecError

__all__ = ["KIND", "FlowModel", "Physical", "flow_bundle"]

KIND = "flow"
PLAN, DEFINITIONS, NUMBERS = "plan", "definitions", "numbers"


class Physical(NamedTuple):
    """Targets in their units.

    Attributes:
        values: float64 ``(n, T)``.
        outside: bool ``(n,)``, an image was left, so the row was clipped.
    """

    values: Tensor
    outside: Tensor


class FlowModel:
    """A plan behind a layout.

    Arguments:
        layout: Conditions and targets with fitted transforms; no categories, no spikes.
        plan: Flow that fits their widths.
        definitions: What the columns mean, as plain JSON types.
        numbers: How many samples a context has, if the model knows.
    Raises: LayoutError if the layout holds something discrete or the widths do not fit.
    """

    def __init__(
        self,
        layout: ObjectLayout,
        plan: Plan,
        definitions: Mapping[str, Any] | None = None,
        numbers: PoissonMean | None = None,
    ) -> None:
        if layout.discrete or layout.pileup:
            names = [c.name for c in layout.discrete] + list(layout.pileup)
            msg = f"a flow alone makes no categories, spikes or pile-up, the layout has {names}"
            raise LayoutError(msg)
        width = sum(c.chain.width for c in layout.conditions)
        needed, found = (len(layout.targets), width), (plan.features, plan.context)
        if needed != found:
            msg = (
                f"the columns make {needed[0]} targets from {needed[1]} numbers of context, the "
                f"flow makes {found[0]} from {found[1]}; give the columns it was trained with"
            )
            raise LayoutError(msg)
        if numbers is not None and (numbers.spec.inputs, numbers.spec.outputs) != (width, 1):
            msg = (
                f"the network of numbers makes {numbers.spec.outputs} of {numbers.spec.inputs} "
                f"columns, the conditions have {width}; one number of all of them is needed"
            )
            raise LayoutError(msg)
        self.layout, self.plan = layout, plan
        self.definitions, self.numbers = dict(definitions or {}), numbers

    def context(self, conditions: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Conditions ``(n, C)`` in physics units to what the networks see."""
        columns = []
        for column, values in zip(self.layout.conditions, conditions.unbind(1)):
            mapped = column.chain.forward(values).to(dtype)
            columns.append(mapped[:, None] if mapped.ndim == 1 else mapped)
        return torch.cat(columns, 1)

    def latent(
        self,
        targets: Tensor,
        conditions: Tensor,
        noise: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Targets ``(n, T)`` in physics units to data of the flow.

        Arguments:
            noise: Uniform ``(n, T)`` in (0, 1) for the randomised transforms.
        """
        given = self._given(conditions)
        columns = []
        for t, column in enumerate(self.layout.targets):
            uniform = None if noise is None else noise[:, t]
            columns.append(column.chain.forward(targets[:, t], given, uniform).to(dtype))
        return torch.stack(columns, 1)

    def physical(
        self, latent: Tensor, conditions: Tensor, counts: Tensor | None = None
    ) -> Physical:
        """Data of the flow ``(n, T)`` to physics units; what left an image is clipped first.

        Arguments:
            conditions: ``(n, C)``, or ``(m, C)`` with
            counts: int64 ``(m,)``: rows of the data that belong to each of them, one by one.
        """
        given = self._given(conditions)
        outside = torch.zeros(len(latent), dtype=torch.bool, device=latent.device)
        columns = []
        for t, column in enumerate(self.layout.targets):
            values, left = column.chain.inverse(latent[:, t], given, counts)
            columns.append(values)
            outside |= left
        return Physical(torch.stack(columns, 1), outside)

    @staticmethod
    def from_bundle(bundle: Bundle, *, where: str = "bundle") -> FlowModel:
        """Read the plan of a bundle.

        Raises: BundleError if kind, plan, columns or shapes do not belong together.
        """
        card = bundle.card
        if card.kind != KIND:
            msg = f"{where}: expected a model of kind {KIND!r}, found {card.kind!r}; use another"
            raise BundleError(msg)
        structure, definitions = card.spec.get(PLAN), card.spec.get(DEFINITIONS, {})
        tensors = weights(bundle)
        if not isinstance(structure, Mapping) or not isinstance(definitions, Mapping):
            msg = f"{where}: the card holds no plan; fetch the bundle again, or import it again"
            raise BundleError(msg)
        try:
            numbers = _numbers(card.spec.get(NUMBERS), tensors)
            plan = plan_from_stored(structure, tensors)
            return FlowModel(card.layout, plan, definitions, numbers)
        except (PlanError, LayoutError, SpecError) as error:
            msg = f"{where}: {error}; fetch the bundle again, or import it again"
            raise BundleError(msg) from error

    def _given(self, conditions: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.layout.condition_names, conditions.unbind(1)))


def flow_bundle(
    model: FlowModel,
    name: str,
    ranges: Mapping[str, Range] | None = None,
    **about: Any,
) -> Bundle:
    """Pack a flow.

    Arguments:
        model: What to pack.
        name: Name of the model.
        ranges: Training range of conditions, in their units.
        about: Further entries of the card: era, seed_system, source, provenance, metrics.
    """
    structure, tensors = plan_to_stored(model.plan)
    spec = {PLAN: structure, DEFINITIONS: model.definitions}
    if model.numbers is not None:
        spec[NUMBERS] = model.numbers.spec.to_dict()
        state = model.numbers.state_dict()
        tensors |= {f"{NUMBERS}.{n}": t.detach().cpu().clone() for n, t in state.items()}
    edges = {n: Range(float(r.low), float(r.high)) for n, r in (ranges or {}).items()}
    card = Card(KIND, name, model.layout, spec, edges, **about)
    return Bundle(card, tensors)


def _numbers(spec: Any, tensors: dict[str, Tensor]) -> PoissonMean | None:
    """Take the network of numbers out of the tensors.

    Raises: SpecError if its tensors do not fit.
    """
    if spec is None:
        return None
    net = PoissonMean(MlpSpec.from_dict(spec))
    state = {n: tensors.pop(n) for n in list(tensors) if n.startswith(f"{NUMBERS}.")}
    try:
        net.load_state_dict({n.removeprefix(f"{NUMBERS}."): t for n, t in state.items()})
    except RuntimeError as error:
        msg = f"the network of numbers does not fit its tensors: {error}"
        raise SpecError(msg) from error
    return net.eval().requires_grad_(False)
