"""Files of other projects, read without running anything that they hold."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "ForeignModelError",
    "file_digest",
    "positive",
    "read_array",
    "read_checkpoint",
    "read_json",
    "state_of",
]

FORBIDDEN = re.compile(r"Unsupported (?:global|class|type)\S*:? (?:GLOBAL )?([\w.]+)")
"""Where torch's reader names what it would have to import."""
PREFIX = "module."
"""In front of every name where a model was wrapped for several GPUs."""


class ForeignModelError(ValueError):
    """A model of another project cannot be imported as it is."""


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Read tensors and plain values of a file of ``torch.save``.

    Raises: ForeignModelError if it is missing, damaged or would need to run code.
    """
    if not path.is_file():
        msg = f"{path}: no such file; give the file that torch.save wrote"
        raise ForeignModelError(msg)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        msg = f"{path}: {_refusal(str(error))}"
        raise ForeignModelError(msg) from error
    except Exception as error:  # what else a damaged file makes the reader raise: it runs no code
        msg = f"{path}: not a readable file of torch.save ({type(error).__name__}); copy it again"
        raise ForeignModelError(msg) from error
    if not isinstance(content, Mapping):
        msg = f"{path}: expected a dictionary, found {type(content).__name__}; save a state_dict()"
        raise ForeignModelError(msg)
    return content


def _refusal(message: str) -> str:
    """Say what torch found, without its advice to run the code."""
    named = FORBIDDEN.search(message)
    if named is None:
        return "not a readable file of torch.save; copy it again, or save model.state_dict()"
    return (
        f"holds more than tensors and plain values ({named[1]}). Loading it would run "
        f"code, so it is refused; save model.state_dict() alone where the model was trained"
    )


def state_of(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Take the state dict out of a checkpoint, or the checkpoint if it is one.

    Raises: ForeignModelError if it holds anything but tensors by name.
    """
    state = content.get("model_state_dict", content)
    if not isinstance(state, Mapping) or not state:
        msg = f"{path}: holds no state dict; save model.state_dict()"
        raise ForeignModelError(msg)
    named = {k: isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()}
    others = sorted(str(k) for k, fine in named.items() if not fine)
    if others:
        msg = f"{path}: entries {others[:5]} are no tensors by name; save model.state_dict() alone"
        raise ForeignModelError(msg)
    wrapped = all(k.startswith(PREFIX) for k in state)
    return {k.removeprefix(PREFIX) if wrapped else k: v for k, v in state.items()}


def read_json(path: Path) -> dict[str, Any]:
    """Read an object of JSON.

    Raises: ForeignModelError if it is missing or something else.
    """
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); give the path of a JSON file"
        raise ForeignModelError(msg) from error
    except ValueError as error:
        msg = f'{path}: not JSON ({error}); an infinite edge is written "-inf" or "inf"'
        raise ForeignModelError(msg) from error
    if not isinstance(content, dict):
        msg = f"{path}: expected an object, found {type(content).__name__}"
        raise ForeignModelError(msg)
    return content


def read_array(path: Path, size: int) -> NDArray[np.float64]:
    """Read ``size`` finite numbers of a ``.npy`` file.

    Raises: ForeignModelError if it is missing, pickled, or of another size.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        msg = f"{path}: cannot be read ({error}); give the folder that holds it"
        raise ForeignModelError(msg) from error
    except (ValueError, EOFError) as error:
        msg = f"{path}: not a plain array ({error}); save it with numpy.save, without pickle"
        raise ForeignModelError(msg) from error
    if not isinstance(array, np.ndarray):
        array.close()
        msg = f"{path}: holds several arrays (.npz); save each with numpy.save"
        raise ForeignModelError(msg)
    if array.shape != (size,) or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        msg = f"{path}: expected {size} finite numbers, found {array.dtype} of shape {array.shape}"
        raise ForeignModelError(msg)
    numbers: NDArray[np.float64] = array.astype(np.float64)
    return numbers


def positive(value: float | None, what: str) -> float | None:
    """Return what an option gave, if anything.

    Raises: ForeignModelError unless it is finite and above 0.
    """
    if value is not None and not (math.isfinite(value) and value > 0):
        msg = f"{what} of {value}: expected a finite number above 0; leave it out if unknown"
        raise ForeignModelError(msg)
    return value


def file_digest(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
