"""Event files of chunks streamed into one file: ROOT or parquet, in bounded memory.

The events of the parts follow each other; small trees beside them (``Runs``, ``LuminosityBlocks``)
lie in the part with a file's first entry alone, so their rows are joined as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from executors.atomic import appearing
from executors.results.event_files import FORMATS, Content, JoinError

__all__ = ["DRAFT", "JoinError", "Part", "Span", "join"]

DRAFT = ".part"  # end of a temporary name
_OF_A_CHUNK = ("source", "sources")  # what provenance says of one chunk alone


@dataclass(frozen=True)
class Part:
    """Piece of a file: ``events`` and rows of other trees from-to, None for all of them.

    Where ``rows`` are given, trees that they do not name have none.
    """

    path: Path
    events: tuple[int, int] | None = None
    rows: Mapping[str, tuple[int, int]] | None = None


@dataclass(frozen=True)
class Span:
    """Where a part lies in the joined file."""

    events: tuple[int, int]
    rows: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def join(path: Path, parts: Sequence[Part], provenance: Mapping[str, Any]) -> list[Span]:
    """Write all parts, in order, into one file that is there completely or not at all.

    Arguments:
        path: File to write; its suffix, ``.root`` or ``.parquet``, is that of the parts.
        parts: What to join.
        provenance: Added to what the parts have in common.
    Returns: Where each part lies in the new file.
    Raises: JoinError where parts differ in columns or provenance, OSError where writing fails.
    """
    kind = FORMATS[path.suffix]
    with appearing(path, DRAFT) as draft:
        with kind(draft) as sink:
            spans = _stream(sink, kind, parts, provenance)
        written = kind.count(draft)
        expected = spans[-1].events[1] if spans else 0
        if written != expected:
            msg = f"{path} has {written:,} events, its {len(parts):,} parts have {expected:,}"
            raise JoinError(msg)
    return spans


def _stream(
    sink: Any, kind: Any, parts: Sequence[Part], provenance: Mapping[str, Any]
) -> list[Span]:
    spans: list[Span] = []
    common: dict[str, Any] | None = None
    trees: dict[str, list[Content]] = {}
    events = 0
    for part in parts:
        with kind.open(part.path) as source:
            told = {k: v for k, v in source.provenance().items() if k not in _OF_A_CHUNK}
            if common is not None and told != common:
                differs = sorted(k for k in {*told, *common} if told.get(k) != common.get(k))
                msg = f"{part.path} was made with another {', '.join(differs)} than those before it"
                raise JoinError(msg)
            common = told
            first = events
            for content in source.events(part.events):
                sink.extend(content, part.path)
                events += content.rows
            rows = {}
            for name, content in source.others(part.rows).items():
                before = trees.setdefault(name, [])
                start = sum(one.rows for one in before)
                if content.rows:
                    rows[name] = (start, start + content.rows)
                if content.rows or not before:
                    before.append(content)
            spans.append(Span((first, events), rows))
    for name, contents in trees.items():
        sink.add(name, contents)
    sink.finish({**(common or {}), **provenance})
    return spans
