"""Reading of branches of numbers without a task, a queue, an interpretation for every basket."""

from __future__ import annotations

import struct
from queue import Queue
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
import uproot
from coffea.nanoevents.mapping import UprootSourceMapping
from uproot.behaviors.TBranch import TBranch
from uproot.compression import decompress
from uproot.source.chunk import Chunk
from uproot.source.cursor import Cursor

__all__ = ["BasketMapping", "read_branch"]

KEY = struct.Struct(">ihiIh")
"""Begin of a basket: size on disk, version, size in memory, date, length of the key."""
LAST = struct.Struct(">ib")
"""End of its key: where the numbers end, counted from the begin of the key; a flag."""
OFFSET = np.dtype(">i4")
"""After the numbers of a jagged branch: entries + 1, as many positions, each with the key added."""
NO_ENDS = np.zeros(0, dtype=np.int32)


class BasketMapping(UprootSourceMapping):
    """NanoEvents' view of a ROOT file in which :func:`read_branch` reads what it can.

    uproot serves every kind of branch in one way. Numbers need less of it: 3 of 12 µs per event of
    NanoAOD saved, measured. All other branches are read by uproot.
    """

    @classmethod
    def like(cls, mapping: UprootSourceMapping) -> BasketMapping:
        """A lazy view of the same file."""
        return cls(
            mapping._fileopener,
            mapping._start,
            mapping._stop,
            cache=mapping._cache,
            access_log=mapping._access_log,
            file_handle=mapping._file_handle,
            use_ak_forth=mapping._use_ak_forth,
            virtual=True,
            preloaded_arrays=mapping.preloaded_arrays,
            buffer_cache=mapping._buffer_cache,
        )

    def extract_column(
        self, columnhandle: Any, start: int, stop: int, allow_missing: bool, **options: Any
    ) -> Any:
        """Entries ``start`` to ``stop`` of a branch: an awkward array or its layout."""
        if self.preloaded_arrays is None and not allow_missing:
            layout = read_branch(columnhandle, start, stop)
            if layout is not None:
                return layout
        return super().extract_column(columnhandle, start, stop, allow_missing, **options)


class _Numbers(NamedTuple):
    """How a branch of numbers is stored, and what its numbers are in memory."""

    stored: np.dtype
    native: np.dtype
    jagged: bool


class _Piece(NamedTuple):
    """What one basket holds of the wanted entries.

    Attributes:
        values: Numbers as stored, ``(n,)``.
        ends: Of a jagged branch, where in ``values`` each entry ends, ``(entries,)``; else empty.
    """

    values: np.ndarray
    ends: np.ndarray


def read_branch(branch: Any, start: int, stop: int) -> ak.contents.Content | None:
    """Numbers of entries ``start`` to ``stop`` of a branch.

    Arguments:
        branch: Of a TTree; a field of another container gives ``None``.
        start: First entry.
        stop: Entry after the last one.
    Returns: ``None`` for what is left to uproot: a branch that does not hold one number or one
        list of numbers per entry, baskets inside the tree's header or laid out in another way.
    References: ROOT, ``TBasket::ReadBasketBuffers``.
    """
    numbers = _numbers(branch)
    if numbers is None:
        return None
    found = branch.entries_to_ranges_or_baskets(start, stop)
    # plain integers: XRootD takes no others
    places = [tuple(map(int, place)) for _, place in found if isinstance(place, tuple)]
    if len(places) < len(found):
        return None
    edges = branch.entry_offsets
    pieces = []
    chunks = branch.file.source.chunks(places, notifications=Queue())
    for (basket, _), chunk in zip(found, chunks, strict=True):
        first, last = edges[basket], edges[basket + 1]
        within = slice(max(start - first, 0), min(stop, last) - first)
        piece = _piece(chunk, last - first, within, numbers)
        if piece is None:
            return None
        pieces.append(piece)
    return _layout(pieces, numbers)


def _numbers(branch: Any) -> _Numbers | None:
    if not isinstance(branch, TBranch):
        return None
    content = branch.interpretation
    jagged = isinstance(content, uproot.AsJagged)
    if jagged:
        if content.header_bytes:
            return None
        content = content.content
    if type(content) is not uproot.AsDtype or content.from_dtype.names or content.inner_shape:
        return None
    return _Numbers(content.from_dtype, content.to_dtype, jagged)


def _piece(chunk: Chunk, entries: int, within: slice, numbers: _Numbers) -> _Piece | None:
    """The entries ``within`` a basket, ``None`` where it is not laid out as expected."""
    payload, border = _payload(chunk)
    size = numbers.stored.itemsize
    if not numbers.jagged:
        whole = len(payload) == entries * size
        return _Piece(payload.view(numbers.stored)[within], NO_ENDS) if whole else None
    if len(payload) - border != (entries + 2) * OFFSET.itemsize:
        return None
    offsets = payload[border:].view(OFFSET)[1:].astype(np.int32)
    offsets -= offsets[0]
    offsets[-1] = border
    offsets = offsets[within.start : within.stop + 1] // size
    values = payload[:border].view(numbers.stored)[offsets[0] : offsets[-1]]
    return _Piece(values, offsets[1:] - offsets[0])


def _payload(chunk: Chunk) -> tuple[np.ndarray, int]:
    """What a basket holds, without its key, uncompressed; where in it the numbers end."""
    raw = chunk.raw_data
    size, _, length, _, key = KEY.unpack_from(raw)
    last, _ = LAST.unpack_from(raw, key - LAST.size)
    if size - key == length:
        return raw[key:size], last - key
    packed = Cursor(chunk.start + key)
    return decompress(chunk, packed, {}, size - key, length).raw_data, last - key


def _layout(pieces: list[_Piece], numbers: _Numbers) -> ak.contents.Content:
    values = np.empty(sum(len(piece.values) for piece in pieces), dtype=numbers.native)
    offsets = np.zeros(1 + sum(len(piece.ends) for piece in pieces), dtype=np.int64)
    entry, number = 1, 0
    for piece in pieces:
        values[number : number + len(piece.values)] = piece.values
        np.add(piece.ends, number, out=offsets[entry : entry + len(piece.ends)])
        entry, number = entry + len(piece.ends), number + len(piece.values)
    content = ak.contents.NumpyArray(values)
    if not numbers.jagged:
        return content
    return ak.contents.ListOffsetArray(ak.index.Index64(offsets), content)
