"""What depends on the clock in a ROOT file, set to constants: equal content, equal bytes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

import uproot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["fix_times"]

_TIME_IN_RECORD = 10
"""Offset of the time in every record: size (4 bytes), version (2), size unpacked (4), time."""
_LENGTH_IN_RECORD = 14
"""Offset of the length of the record's header."""
_WIDE = 1000
"""Versions above it have 64-bit positions."""
_FIXED = struct.pack(">I", (2018 - 1995) << 26 | 1 << 22 | 1 << 17)
"""1 January 2018 in ROOT's TDatime packing (year since 1995, month, day, time of day)."""


def fix_times(path: Path) -> None:
    """Overwrite the time stamps of a closed file of TTrees and blank what its free segments hold.

    Raises: ValueError if the file holds anything but TTrees in its top directory.
    """
    places = sorted(set(_places(path)))
    with path.open("r+b") as file:
        for place in places:
            file.seek(place)
            file.write(_FIXED)
        _blank_free(file, path)


def _read(file: BinaryIO, form: str, at: int) -> tuple[int, ...]:
    file.seek(at)
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _places(path: Path) -> Iterator[int]:
    with uproot.open(path) as directory, path.open("rb") as raw:
        header = directory.file
        for record in (header.fBEGIN, header.fSeekInfo, header.fSeekFree):
            yield record + _TIME_IN_RECORD
        top = header.fBEGIN + header.fNbytesName
        yield from (top + 2, top + 6)
        yield from _key_list(raw, top)
        for name, kind in directory.classnames().items():
            if kind != "TTree":
                message = f"{path}: {name!r} is a {kind}; only TTrees can be given fixed times"
                raise ValueError(message)
            yield directory.key(name).fSeekKey + _TIME_IN_RECORD
            for branch in directory[name].branches:
                seeks = branch.member("fBasketSeek")[: branch.member("fWriteBasket")]
                yield from (int(seek) + _TIME_IN_RECORD for seek in seeks)


def _key_list(raw: BinaryIO, top: int) -> Iterator[int]:
    """Times in the list of keys of the directory whose header starts at ``top``."""
    (version,) = _read(raw, ">h", top)
    (position,) = _read(raw, ">q", top + 34) if version > _WIDE else _read(raw, ">i", top + 26)
    yield position + _TIME_IN_RECORD
    position += _read(raw, ">h", position + _LENGTH_IN_RECORD)[0]
    (number,) = _read(raw, ">i", position)
    position += 4
    for _ in range(number):
        yield position + _TIME_IN_RECORD
        position += _read(raw, ">h", position + _LENGTH_IN_RECORD)[0]


def _blank_free(file: BinaryIO, path: Path) -> None:
    """Fill free segments with ROOT's mark of a gap, its negative size, then zeros."""
    with uproot.open(path) as directory:
        position, number = directory.file.fSeekFree, directory.file.nfree
    position += _read(file, ">h", position + _LENGTH_IN_RECORD)[0]
    for _ in range(number - 1):  # the last one is the space after the end
        (version,) = _read(file, ">h", position)
        form = ">qq" if version > _WIDE else ">ii"
        first, last = _read(file, form, position + 2)
        size = last - first + 1
        file.seek(first)
        file.write((struct.pack(">i", -size) + bytes(size))[:size])
        position += 2 + struct.calcsize(form)
