"""What the result of a chunk depends on, so that a resumed run never mixes two."""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from executors.results.state import RunIdentity

__all__ = ["run_identity"]

ROOMS = ("flows", "processors")
"""Packages of this project that compute results."""
LIBRARIES = ("coffea", "awkward", "uproot", "hist", "numpy", "torch", "numba")
"""Packages whose version may change a result."""
_ELSEWHERE = ("output", "bundles", "bundle_digests")
"""Keys of a configuration that name places; the content of bundles is looked at instead."""


def run_identity(
    options: argparse.Namespace,
    further: Mapping[str, Any],
    kind: type[Any],
    provenance: Mapping[str, Any],
) -> RunIdentity:
    """Identity of a run: processor, configuration, bundles, seed, format, device, code.

    Neither the output directory nor where a bundle lies is part of it. Of a user's own processor
    its package counts as code, or its file where it lies in none; files that this imports are not
    looked at.

    Arguments:
        options: Settled options, see `commands.configuration`.
        further: Keys of the configuration file that go to the processor.
        kind: Class of the processor.
        provenance: What the processor says of itself.
    """
    configuration = {
        key: value
        for key, value in {**further, **provenance.get("configuration", {})}.items()
        if key not in _ELSEWHERE
    }
    parts = {
        "processor": f"{kind.__module__}:{kind.__qualname__}",
        "configuration": _digest(json.dumps(configuration, sort_keys=True, default=str)),
        "bundles": _digest(json.dumps(_bundles(options, provenance))),
        "seed": str(options.seed),
        "format": str(options.format),
        "oversample": str(options.oversample),
        "device": str(options.device),
        "code": _digest(*_sources(kind)),
    }
    return RunIdentity(parts | {name: _version(name) for name in LIBRARIES})


def _bundles(options: argparse.Namespace, provenance: Mapping[str, Any]) -> list[str]:
    """Digests of the models, of the files given where the processor tells none."""
    told = [str(bundle["digest"]) for bundle in provenance.get("bundles", [])]
    return told or [_digest(*_contents(Path(path))) for path in options.bundle]


def _sources(kind: type[Any]) -> Iterator[bytes]:
    """Source files of what computes: the project's rooms and the processor's own package."""
    top = kind.__module__.partition(".")[0]
    for name in dict.fromkeys((*ROOMS, top)):
        module = sys.modules.get(name)
        spec = module.__spec__ if module is not None else importlib.util.find_spec(name)
        places = [] if spec is None else list(spec.submodule_search_locations or [])
        if spec is not None and not places and spec.origin:
            places = [spec.origin]
        for place in places:
            yield from _contents(Path(place), "*.py")


def _contents(place: Path, pattern: str = "*") -> Iterator[bytes]:
    """Content of a file, or names and contents of all files below a folder."""
    if place.is_file():
        yield place.read_bytes()
    for path in sorted(place.rglob(pattern)):
        if path.is_file():
            yield path.relative_to(place).as_posix().encode()
            yield path.read_bytes()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()
