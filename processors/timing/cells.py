"""Cell ids of DD4hep: numbers packed into 64 bits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import reduce
from operator import or_

import numpy as np

from processors.errors import ConfigurationError

__all__ = ["CellFields", "Field"]

WIDTH = 64
_FIELD = re.compile(r"\s*(?P<name>\w+):(?:(?P<offset>\d+):)?(?P<width>-?\d+)\s*")


@dataclass(frozen=True)
class Field:
    """Bits ``offset`` to ``offset + width`` of a cell id."""

    offset: int
    width: int
    signed: bool = False

    @property
    def mask(self) -> int:
        """All its bits, at their place."""
        return ((1 << self.width) - 1) << self.offset


@dataclass(frozen=True)
class CellFields:
    """Fields by name, as the ``<id>`` of a readout tells them.

    Example:
        >>> fields = CellFields.parse("system:8,layer:6,z:32:-16")
        >>> cell = np.array([(3 << 8) | (0xFFFE << 32)], dtype=np.uint64)
        >>> fields.value(cell, "layer").tolist(), fields.value(cell, "z").tolist()
        ([3], [-2])
    """

    fields: dict[str, Field]

    @classmethod
    def parse(cls, text: str) -> CellFields:
        """Read ``name:width`` or ``name:offset:width``, comma between, width below 0 for a sign.

        Raises: ConfigurationError naming the field that is none, overlaps or leaves 64 bits.
        """
        fields: dict[str, Field] = {}
        taken, end = 0, 0
        for part in text.split(","):
            found = _FIELD.fullmatch(part)
            if found is None:
                message = f"cell field {part!r} of {text!r} is none; write name:width"
                raise ConfigurationError(message)
            width = int(found["width"])
            offset = end if found["offset"] is None else int(found["offset"])
            field = Field(offset, abs(width), width < 0)
            end = offset + field.width
            if not field.width or end > WIDTH or field.mask & taken or found["name"] in fields:
                message = (
                    f"cell field {part!r} of {text!r} is empty, repeated, or beyond {WIDTH} bits"
                )
                raise ConfigurationError(message)
            fields[found["name"]] = field
            taken |= field.mask
        return cls(fields)

    def mask(self, names: tuple[str, ...]) -> np.uint64:
        """The bits of several fields.

        Raises: ConfigurationError for a name that is no field.
        """
        return np.uint64(reduce(or_, (self._field(name).mask for name in names), 0))

    def value(self, cells: np.ndarray, name: str) -> np.ndarray:
        """One field of every cell, ``(n,)`` int64."""
        field = self._field(name)
        bits = (cells.astype(np.uint64) & np.uint64(field.mask)) >> np.uint64(field.offset)
        values = bits.astype(np.int64)
        if field.signed:
            values -= (values >> (field.width - 1)) << field.width
        return values

    def _field(self, name: str) -> Field:
        if name not in self.fields:
            message = f"cell ids have no field {name!r}; they have {', '.join(self.fields)}"
            raise ConfigurationError(message)
        return self.fields[name]
