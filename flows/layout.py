"""Which columns a model reads and makes, in which order and unit, through which transforms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.features import Chain, Transform, transform_from_dict

__all__ = ["CategoryColumn", "ConditionColumn", "LayoutError", "ObjectLayout", "TargetColumn"]


class LayoutError(ValueError):
    """Columns were declared in a way that cannot work, or do not fit what is there."""


@dataclass(frozen=True)
class ConditionColumn:
    """A column the model is conditioned on, in physics units before its transforms."""

    name: str
    unit: str = "1"
    transforms: tuple[Transform, ...] = ()

    @property
    def chain(self) -> Chain:
        """The transforms, ready to apply."""
        return Chain(self.transforms)


@dataclass(frozen=True)
class CategoryColumn:
    """A column that takes one of the declared integer ``values``."""

    name: str
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) != len(self.values):
            msg = f"category {self.name!r} needs distinct values, got {self.values}"
            raise LayoutError(msg)


@dataclass(frozen=True)
class TargetColumn:
    """A continuous column the flow makes, in its target unit before the transforms.

    ``spikes`` are values that hold a share of the rows (sentinels, exact zeros). Which of them an
    object takes, if any, is a hidden category; the flow knows the continuous part alone.
    """

    name: str
    unit: str = "1"
    transforms: tuple[Transform, ...] = ()
    spikes: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.spikes)) != len(self.spikes) or not all(map(math.isfinite, self.spikes)):
            msg = f"target {self.name!r} needs distinct finite spikes, got {self.spikes}"
            raise LayoutError(msg)

    @property
    def chain(self) -> Chain:
        """The transforms, ready to apply."""
        return Chain(self.transforms)


@dataclass(frozen=True)
class ObjectLayout:
    """Everything a model of one object reads and makes.

    Arguments:
        object: Name of the object, such as ``"jet"``.
        collection: Name of the simulated collection, such as ``"Jet"``.
        source: Name of the generator collection, such as ``"GenJet"``.
        conditions: Ordered conditions.
        categories: Ordered discrete outputs.
        targets: Ordered continuous outputs.
        pileup: Conditions that are drawn jointly from the bundle's profile when an input lacks
            them; a subset of the conditions' names.
    Raises: LayoutError for repeated names or references to a condition that is not there.
    """

    object: str
    collection: str
    source: str
    conditions: tuple[ConditionColumn, ...]
    categories: tuple[CategoryColumn, ...] = ()
    targets: tuple[TargetColumn, ...] = ()
    pileup: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        conditions = [c.name for c in self.conditions]
        _distinct("conditions", conditions)
        _distinct("outputs", [*self.category_names, *self.target_names])
        if not conditions:
            msg = f"layout of {self.object!r} has no condition; at least one is needed"
            raise LayoutError(msg)
        for target in self.targets:
            _known(f"target {target.name!r}", target.chain.conditions, conditions)
        for condition in self.conditions:
            if condition.chain.conditions:
                msg = f"condition {condition.name!r} may not refer to another condition"
                raise LayoutError(msg)
        _known("the pile-up profile", self.pileup, conditions)

    @property
    def condition_names(self) -> tuple[str, ...]:
        """Names of the conditions in order."""
        return tuple(c.name for c in self.conditions)

    @property
    def category_names(self) -> tuple[str, ...]:
        """Names of the categories in order."""
        return tuple(c.name for c in self.categories)

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the targets in order."""
        return tuple(t.name for t in self.targets)

    @property
    def hidden(self) -> tuple[CategoryColumn, ...]:
        """One hidden category per spiked target: 0 continuous, k the k-th spike."""
        return tuple(
            CategoryColumn(f"spike:{t.name}", tuple(range(len(t.spikes) + 1)))
            for t in self.targets
            if t.spikes
        )

    @property
    def discrete(self) -> tuple[CategoryColumn, ...]:
        """What the categorical head makes: the categories, then the hidden ones."""
        return self.categories + self.hidden

    def check(self, conditions: Iterable[str], outputs: Iterable[str], *, where: str) -> None:
        """Compare with the columns somebody needs.

        Raises: LayoutError naming ``where`` and every missing column.
        """
        missing = [n for n in self.condition_names if n not in set(conditions)]
        absent = [n for n in outputs if n not in {*self.category_names, *self.target_names}]
        for kind, names in (("needs conditions", missing), ("does not make", absent)):
            if names:
                msg = (
                    f"{where} {kind} {names}: it belongs to other columns. "
                    f"Use a bundle made for this table, or train one"
                )
                raise LayoutError(msg)

    def to_dict(self) -> dict[str, Any]:
        """Write as plain JSON types."""
        return {
            "object": self.object,
            "collection": self.collection,
            "source": self.source,
            "conditions": [
                {"name": c.name, "unit": c.unit, "transforms": c.chain.to_list()}
                for c in self.conditions
            ],
            "categories": [{"name": c.name, "values": list(c.values)} for c in self.categories],
            "targets": [
                {
                    "name": t.name,
                    "unit": t.unit,
                    "transforms": t.chain.to_list(),
                    "spikes": list(t.spikes),
                }
                for t in self.targets
            ],
            "pileup": list(self.pileup),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> ObjectLayout:
        """Read what :meth:`to_dict` wrote."""
        try:
            return ObjectLayout(
                object=data["object"],
                collection=data["collection"],
                source=data["source"],
                conditions=tuple(
                    ConditionColumn(c["name"], c["unit"], _transforms(c["transforms"]))
                    for c in data["conditions"]
                ),
                categories=tuple(
                    CategoryColumn(c["name"], tuple(c["values"])) for c in data["categories"]
                ),
                targets=tuple(
                    TargetColumn(
                        t["name"], t["unit"], _transforms(t["transforms"]), tuple(t["spikes"])
                    )
                    for t in data["targets"]
                ),
                pileup=tuple(data["pileup"]),
            )
        except (KeyError, TypeError) as error:
            msg = f"layout lacks or misstates {error}; write it with ObjectLayout.to_dict"
            raise LayoutError(msg) from error


def _transforms(data: Iterable[Mapping[str, Any]]) -> tuple[Transform, ...]:
    return tuple(transform_from_dict(item) for item in data)


def _distinct(what: str, names: list[str]) -> None:
    repeated = sorted({n for n in names if names.count(n) > 1})
    if repeated:
        msg = f"{what} {repeated} are declared more than once"
        raise LayoutError(msg)


def _known(who: str, names: Iterable[str], conditions: list[str]) -> None:
    unknown = sorted(set(names) - set(conditions))
    if unknown:
        msg = f"{who} refers to {unknown}, which are not among the conditions {conditions}"
        raise LayoutError(msg)
