"""Reference samples: they come out again, and not from other weights or another reading of them."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from flows.bundle import Bundle
from flows.reference import ROWS, compare, weights, with_reference
from flows.testing import toy_layout, toy_table
from flows.training import TrainingSettings, train_object

SMALL = TrainingSettings(hidden=32, bins=6, embedding=(32, 16)).quick(1)


@pytest.fixture(scope="module")
def trained():
    """A model whose hidden layers matter, as they do not after a single epoch."""
    table = toy_table(1_500)
    bundle = train_object(table, toy_layout(), SMALL)
    generator = torch.Generator().manual_seed(3)
    tensors = {
        n: t + 0.3 * torch.randn(t.shape, generator=generator) if n.endswith("weight") else t
        for n, t in bundle.tensors.items()
    }
    return with_reference(dataclasses.replace(bundle, tensors=tensors), table.conditions)


def test_a_saved_bundle_gives_its_samples_again(trained, tmp_path):
    again = Bundle.load(trained.save(tmp_path / "toy"))
    found = compare(again)
    assert (found.rows, found.differing) == (ROWS, 0)
    assert found.fine


def test_hidden_units_in_another_order_are_noticed(trained):
    """What a changed rule for the degrees of the masks does: same shapes, another function."""
    name = next(n for n in trained.tensors if n.startswith("flow") and "blocks.0" in n)
    changed = dict(trained.tensors) | {name: trained.tensors[name].roll(1, 0)}
    found = compare(dataclasses.replace(trained, tensors=changed))
    assert found.differing > ROWS // 2
    assert not found.fine


def test_one_changed_probability_is_noticed(trained):
    """Another efficiency moves no column, only who is kept."""
    changed = dict(trained.tensors) | {"efficiency.calibration": trained.tensors[
        "efficiency.calibration"
    ] - 2.0}  # fmt: skip
    assert not compare(dataclasses.replace(trained, tensors=changed)).fine


def test_a_bundle_without_samples_says_so_and_can_be_given_some(trained):
    bare = dataclasses.replace(trained, tensors=weights(trained))
    assert compare(bare).rows == 0
    given = with_reference(bare, toy_table(100, seed=5).conditions)
    assert compare(given) == (ROWS, 0)
    assert given.digest != bare.digest
