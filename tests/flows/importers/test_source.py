"""Foreign files are read without running anything."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from flows.importers.source import (
    ForeignModelError,
    read_array,
    read_checkpoint,
    read_json,
    state_of,
)

ran = []


class Trap:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self):
        return ran.append, (1,)


def test_a_pickle_that_needs_more_is_refused_and_not_run(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"weight": torch.zeros(2), "more": Trap()}, path)
    with pytest.raises(
        ForeignModelError, match=r"more than tensors.*state_dict\(\) alone"
    ) as found:
        read_checkpoint(path)
    # torch's own message recommends weights_only=False
    assert "weights_only" not in str(found.value)
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(
        ForeignModelError, match=r"more than tensors.*torch\.nn\.modules\.linear\.Linear"
    ):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps({"weight": Trap()}))
    with pytest.raises(ForeignModelError, match=r"refused|readable"):
        read_checkpoint(path)
    assert ran == []


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    path = tmp_path / "model.pt"
    with pytest.raises(ForeignModelError, match="no such file"):
        read_checkpoint(path)
    torch.save({"weight": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ForeignModelError, match=r"copy it again|refused"):
        read_checkpoint(path)
    for content in (b"", b"hello", b"version https://git-lfs", b"<!DOCTYPE html>", b"\x93NUMPY"):
        path.write_bytes(content)
        with pytest.raises(ForeignModelError, match=r"not a readable file of torch\.save") as found:
            read_checkpoint(path)
        assert "weights_only" not in str(found.value)
    torch.save(torch.zeros(3), path)
    with pytest.raises(ForeignModelError, match="expected a dictionary, found Tensor"):
        read_checkpoint(path)


def test_the_state_dict_is_found_in_a_checkpoint(tmp_path):
    path, weights = tmp_path / "m.pt", {"a": torch.zeros(2)}
    assert state_of(weights, path) == weights
    assert state_of({"model_state_dict": weights, "epoch": 3}, path) == weights
    wrapped = {"module.a": weights["a"]}
    assert state_of(wrapped, path) == weights
    for content, message in (
        ({}, "no state dict"),
        ({"a": 1}, "no tensors"),
        ({1: torch.zeros(2)}, "by name"),
    ):
        with pytest.raises(ForeignModelError, match=message):
            state_of(content, path)


def test_arrays_and_json_say_what_is_wrong(tmp_path):
    path = tmp_path / "means.npy"
    with pytest.raises(ForeignModelError, match=r"means\.npy: cannot be read"):
        read_array(path, 3)
    np.save(path, np.arange(3.0, dtype=np.float32))
    assert read_array(path, 3).tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(ForeignModelError, match="expected 4 finite numbers"):
        read_array(path, 4)
    np.save(path, np.array([1.0, np.nan]))
    with pytest.raises(ForeignModelError, match="finite"):
        read_array(path, 2)
    path.write_bytes(b"")
    with pytest.raises(ForeignModelError, match="not a plain array"):
        read_array(path, 2)
    np.savez(tmp_path / "several.npz", a=np.zeros(2))
    (tmp_path / "several.npz").rename(path)
    with pytest.raises(ForeignModelError, match="several arrays"):
        read_array(path, 2)
    np.save(path, np.array([Trap(), Trap()]), allow_pickle=True)
    with pytest.raises(ForeignModelError, match="without pickle"):
        read_array(path, 2)
    assert ran == []
    text = tmp_path / "a.json"
    for content, message in (("[1]", "expected an object"), ("{", "not JSON")):
        text.write_text(content)
        with pytest.raises(ForeignModelError, match=message):
            read_json(text)
    with pytest.raises(ForeignModelError, match="cannot be read"):
        read_json(tmp_path / "absent.json")
