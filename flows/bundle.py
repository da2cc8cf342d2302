"""A model on disk: ``card.json`` beside ``weights.safetensors``, in a folder or a zip of it.

Nothing is unpickled or executed. The digest is the SHA-256 over both files; the card holds that of
the weights and its own, so a changed byte in either is noticed. This detects damage, not malice:
who can write the files can write matching digests. Pin a digest to be sure of the origin.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as write_tensors
from torch import Tensor

from flows.card import Card, CardError

__all__ = ["CARD", "WEIGHTS", "Bundle", "BundleError"]

CARD = "card.json"
WEIGHTS = "weights.safetensors"
LIMITS = {CARD: 8 << 20, WEIGHTS: 512 << 20}
"""Largest size of each member in bytes: nothing larger is read into memory."""
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
SEAL = "card_sha256"


class BundleError(ValueError):
    """A bundle is missing, damaged, of another version or for other columns."""


@dataclass(frozen=True)
class Bundle:
    """A model in memory: its card and its tensors.

    Arguments:
        card: Everything but the weights.
        tensors: Weights by name.
    """

    card: Card
    tensors: Mapping[str, Tensor]

    def to_bytes(self) -> dict[str, bytes]:
        """Both files as bytes; the same content always gives the same bytes."""
        tensors = {n: self.tensors[n].detach().cpu().contiguous() for n in sorted(self.tensors)}
        weights = write_tensors(tensors)
        card = dataclasses.replace(self.card, weights_sha256=hashlib.sha256(weights).hexdigest())
        return {CARD: _seal(card.to_json()), WEIGHTS: weights}

    @property
    def digest(self) -> str:
        """SHA-256 over card and weights, 64 hex digits."""
        return _digest(self.to_bytes())

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a folder, or a zip if the name ends in ``.zip``; each file appears whole or not."""
        target, members = Path(path), self.to_bytes()
        if target.suffix == ".zip":
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(target, _zip(members))
            return target
        target.mkdir(parents=True, exist_ok=True)
        for name in (WEIGHTS, CARD):
            _write(target / name, members[name])
        return target

    @staticmethod
    def load(path: str | os.PathLike[str], digest: str | None = None) -> Bundle:
        """Read a bundle and verify it.

        Arguments:
            path: Folder or zip.
            digest: Expected digest, to pin one bundle.
        Raises: BundleError naming the file, what was expected, what was found, what to do.
        """
        place = Path(path)
        members = _read_zip(place) if place.is_file() else _read_folder(place)
        found = _digest(members)
        if digest is not None and digest != found:
            msg = (
                f"bundle {place}: expected digest {digest}, found {found}. It is another bundle "
                f"or was changed; fetch the pinned one, or drop the pin"
            )
            raise BundleError(msg)
        card = _read_card(place, members[CARD])
        actual = hashlib.sha256(members[WEIGHTS]).hexdigest()
        if actual != card.weights_sha256:
            msg = (
                f"bundle {place}/{WEIGHTS}: expected SHA-256 {card.weights_sha256}, found "
                f"{actual}. The weights were changed or cut off; fetch the bundle again"
            )
            raise BundleError(msg)
        try:
            tensors = read_tensors(members[WEIGHTS])
        except SafetensorError as error:
            msg = f"bundle {place}/{WEIGHTS}: not a safetensors file ({error}); fetch it again"
            raise BundleError(msg) from error
        return Bundle(card, tensors)


def _seal(text: bytes) -> bytes:
    values = json.loads(text)
    values[SEAL] = hashlib.sha256(text).hexdigest()
    return (json.dumps(values, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def _unseal(place: Path, text: bytes) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        msg = f"bundle {place}/{CARD}: not JSON ({error}); fetch the bundle again"
        raise BundleError(msg) from error
    if not isinstance(values, dict):
        msg = f"bundle {place}/{CARD}: expected an object, found {type(values).__name__}"
        raise BundleError(msg)
    return values


def _read_card(place: Path, text: bytes) -> Card:
    values = _unseal(place, text)
    seal = values.pop(SEAL, None)
    try:
        card = Card.from_dict(values)
    except CardError as error:
        msg = f"bundle {place}/{CARD}: {error}"
        raise BundleError(msg) from error
    if _seal(card.to_json()) != text:
        found = hashlib.sha256(card.to_json()).hexdigest()
        msg = (
            f"bundle {place}/{CARD}: expected SHA-256 {seal}, found {found}. The card was changed "
            f"after it was written; fetch the bundle again, or write it with Bundle.save"
        )
        raise BundleError(msg)
    return card


def _digest(members: Mapping[str, bytes]) -> str:
    total = hashlib.sha256()
    for name in (CARD, WEIGHTS):
        total.update(len(members[name]).to_bytes(8, "little"))
        total.update(members[name])
    return total.hexdigest()


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def _zip(members: Mapping[str, bytes]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in (CARD, WEIGHTS):
            archive.writestr(zipfile.ZipInfo(name, ZIP_DATE), members[name])
    return buffer.getvalue()


def _limit(place: Path, name: str, size: int) -> None:
    if size > LIMITS[name]:
        msg = f"bundle {place}/{name}: {size} bytes, at most {LIMITS[name]} are read; not a bundle"
        raise BundleError(msg)


def _read_folder(place: Path) -> dict[str, bytes]:
    if not place.is_dir():
        msg = f"bundle {place}: no such folder or zip; give the path of a bundle"
        raise BundleError(msg)
    members = {}
    for name in (CARD, WEIGHTS):
        file = place / name
        if not file.is_file():
            found = sorted(p.name for p in place.iterdir())
            msg = f"bundle {place}: expected {CARD} and {WEIGHTS}, found {found}; fetch it again"
            raise BundleError(msg)
        _limit(place, name, file.stat().st_size)
        members[name] = file.read_bytes()
    return members


def _read_zip(place: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(place) as archive:
            infos = {info.filename: info for info in archive.infolist()}
            if sorted(infos) != sorted(LIMITS) or len(archive.infolist()) != len(LIMITS):
                msg = (
                    f"bundle {place}: expected exactly {CARD} and {WEIGHTS} in the zip, found "
                    f"{[i.filename for i in archive.infolist()]}; zip the two files alone"
                )
                raise BundleError(msg)
            members = {}
            for name, info in infos.items():
                _limit(place, name, info.file_size)
                with archive.open(info) as stream:
                    members[name] = stream.read(LIMITS[name] + 1)
                _limit(place, name, len(members[name]))
            return members
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        msg = f"bundle {place}: not a readable zip ({error}); fetch the bundle again"
        raise BundleError(msg) from error
