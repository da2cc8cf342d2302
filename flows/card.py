"""The card of a model: everything about it but the weights, as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.layout import ObjectLayout

__all__ = ["FORMAT_VERSION", "Card", "CardError", "Range"]

FORMAT_VERSION = 1


class CardError(ValueError):
    """A card is not one, or of a version this code does not read."""


@dataclass(frozen=True)
class Range:
    """Smallest and largest training value of a condition, in its unit."""

    low: float
    high: float


@dataclass(frozen=True)
class Card:
    """What a bundle says about its model.

    Arguments:
        kind: Kind of model, such as ``"object"``; decides who can run it.
        name: Name of the model.
        layout: Ordered columns with units and fitted transforms.
        spec: Specification of the architecture, read by the kind.
        ranges: Training range of every condition.
        era: Campaign the training data belong to.
        seed_system: Project whose method this follows.
        source: Where the training data or the imported weights come from.
        provenance: How it was trained: fileset hash, code version, settings.
        metrics: Figures of merit found in training.
        weights_sha256: Hex digest of ``weights.safetensors``; filled on saving.
    """

    kind: str
    name: str
    layout: ObjectLayout
    spec: Mapping[str, Any]
    ranges: Mapping[str, Range] = field(default_factory=dict)
    era: str = "unspecified"
    seed_system: str = "none"
    source: str = "unspecified"
    provenance: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Write as plain JSON types, the format version first."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        values["layout"] = self.layout.to_dict()
        values["ranges"] = {name: [r.low, r.high] for name, r in self.ranges.items()}
        return {"format_version": FORMAT_VERSION} | values

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Card:
        """Read what :meth:`to_dict` wrote.

        Raises: CardError for another version, missing or unknown entries.
        """
        version = data.get("format_version")
        if version != FORMAT_VERSION:
            msg = (
                f"format version {version!r}, this code reads {FORMAT_VERSION}: "
                f"update flashbrew, or export the bundle again"
            )
            raise CardError(msg)
        values = {k: v for k, v in data.items() if k != "format_version"}
        expected = {f.name for f in dataclasses.fields(Card)}
        if set(values) != expected:
            missing, unknown = sorted(expected - set(values)), sorted(set(values) - expected)
            msg = f"missing entries {missing}, unknown entries {unknown}"
            raise CardError(msg)
        try:
            values["layout"] = ObjectLayout.from_dict(values["layout"])
            values["ranges"] = {n: Range(*map(float, r)) for n, r in values["ranges"].items()}
        except (TypeError, AttributeError, ValueError) as error:
            raise CardError(str(error)) from error
        return Card(**values)

    def to_json(self) -> bytes:
        """Canonical text: sorted keys, two spaces, UTF-8, numbers that are finite.

        Raises: CardError if an entry is not JSON.
        """
        try:
            text = json.dumps(
                _clean(self.to_dict()),
                sort_keys=True,
                indent=1,
                allow_nan=False,
                ensure_ascii=False,
            )
        except (TypeError, ValueError) as error:
            msg = f"card of {self.name!r} holds something that is not JSON: {error}"
            raise CardError(msg) from error
        return (text + "\n").encode()


def _clean(value: Any) -> Any:
    """Turn tuples into lists and infinite floats, which JSON lacks, into text."""
    if isinstance(value, Mapping):
        return {str(k): _clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
