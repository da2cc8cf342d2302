"""Where a chunk of events lies, for messages."""

from __future__ import annotations

from typing import Any

import awkward as ak

__all__ = ["location"]


def location(events: Any) -> str:
    """Where a chunk is, for messages: ``file:tree, entries start-stop``."""
    metadata = getattr(events, "metadata", None) or {}
    if ak.backend(events) == "typetracer":
        return "events that are not read yet"
    if "filename" not in metadata:
        return f"{len(events)} events in memory"
    return (
        f"{metadata['filename']}:{metadata.get('treename', 'Events')}, entries "
        f"{metadata.get('entrystart', 0)}-{metadata.get('entrystop', len(events))}"
    )
