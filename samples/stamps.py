"""Time stamps of a ROOT file, set to one constant so that equal content means equal bytes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

import uproot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["fix_times"]

_IN_KEY = 10
"""Offset of the time in every record: size (4 bytes), version (2), size unpacked (4), time."""
_LENGTH_IN_KEY = 14
_FIXED = struct.pack(">I", (2018 - 1995) << 26 | 1 << 22 | 1 << 17)
"""1 January 2018 in ROOT's TDatime packing (year since 1995, month, day, time of day)."""


def fix_times(path: Path) -> None:
    """Overwrite every time stamp of a closed file of TTrees; nothing else changes.

    Raises: ValueError if the file holds anything but TTrees in its top directory.
    """
    places = sorted(set(_places(path)))
    with path.open("r+b") as file:
        for place in places:
            file.seek(place)
            file.write(_FIXED)


def _places(path: Path) -> Iterator[int]:
    with uproot.open(path) as directory, path.open("rb") as raw:
        header = directory.file
        for record in (header.fBEGIN, header.fSeekInfo, header.fSeekFree):
            yield record + _IN_KEY
        top = header.fBEGIN + header.fNbytesName
        yield from (top + 2, top + 6)
        yield from _key_list(raw, top)
        for name, kind in directory.classnames().items():
            if kind != "TTree":
                message = f"{path}: {name!r} is a {kind}; only TTrees can be given fixed times"
                raise ValueError(message)
            yield directory.key(name).fSeekKey + _IN_KEY
            for branch in directory[name].branches:
                seeks = branch.member("fBasketSeek")[: branch.member("fWriteBasket")]
                yield from (int(seek) + _IN_KEY for seek in seeks)


def _key_list(raw: BinaryIO, top: int) -> Iterator[int]:
    """Times in the list of keys of the directory whose header starts at ``top``."""

    def read(form: str, at: int) -> int:
        raw.seek(at)
        return int(struct.unpack(form, raw.read(struct.calcsize(form)))[0])

    wide = read(">h", top) > 1000
    position = read(">q", top + 34) if wide else read(">i", top + 26)
    yield position + _IN_KEY
    position += read(">h", position + _LENGTH_IN_KEY)
    number = read(">i", position)
    position += 4
    for _ in range(number):
        yield position + _IN_KEY
        position += read(">h", position + _LENGTH_IN_KEY)
