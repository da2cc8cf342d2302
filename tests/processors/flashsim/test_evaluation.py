"""Held-out rows and the figures made from them."""

from __future__ import annotations

import numpy as np
import pytest

from flows.testing import toy_layout, toy_table
from flows.training import TrainingSettings, train_object
from processors.flashsim.evaluation import evaluate, hold_out


@pytest.fixture(scope="module")
def table():
    rows = toy_table(4000)
    groups = np.arange(len(rows.conditions)) // 4
    return rows._replace(groups=groups)


def test_no_group_is_on_both_sides_and_no_row_is_lost(table):
    seen, unseen = hold_out(table, 0.2, seed=3)
    assert not set(seen.groups) & set(unseen.groups)
    assert len(seen.conditions) + len(unseen.conditions) == len(table.conditions)
    assert len(seen.targets) + len(unseen.targets) == len(table.targets)
    # binomial spread of 1000 groups at 20 %: 1.3 % each sigma
    assert abs(len(set(unseen.groups)) / len(set(table.groups)) - 0.2) < 0.06


def test_targets_stay_with_their_generator_objects(table):
    seen, unseen = hold_out(table, 0.2, seed=3)
    for part in (seen, unseen):
        place = {row.tobytes(): i for i, row in enumerate(table.conditions)}
        position = np.cumsum(table.reconstructed) - 1
        for row, target in zip(
            part.conditions[part.reconstructed][:50], part.targets[:50], strict=True
        ):
            assert np.array_equal(table.targets[position[place[row.tobytes()]]], target)


def test_metrics_name_every_output_and_see_a_broken_model(table):
    layout = toy_layout()
    seen, unseen = hold_out(table, 0.3, seed=1)
    bundle = train_object(seen, layout, TrainingSettings().quick(2))
    good = evaluate(bundle, unseen, seed=1)
    assert [row["variable"] for row in good["closure"]] == [
        *layout.target_names,
        *layout.category_names,
    ]
    shifted = unseen._replace(targets=unseen.targets + unseen.targets.std(axis=0))
    bad = evaluate(bundle, shifted, seed=1)
    assert bad["auc"] > good["auc"]
    assert all(
        b["w1"] > g["w1"]
        for b, g in zip(bad["closure"], good["closure"], strict=True)
        if b["variable"] in layout.target_names
    )
