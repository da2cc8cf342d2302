"""Parts of a table: chosen by group and seed alone, independent of each other."""

from __future__ import annotations

import numpy as np
import pytest

from flows.tables import COMMON_SEED, held_back, seed_of_validation

GROUPS = np.arange(20_000)


def test_halves_stay_what_they_are():
    second = held_back(GROUPS[:12], 0.5, COMMON_SEED)
    assert np.flatnonzero(second).tolist() == [3, 4, 5, 7, 10, 11]


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2, 2**63 - 1])
def test_halves_validate_with_the_same_share(seed, half):
    """What is held out to judge by has the seed after that of the run."""
    chosen = GROUPS[held_back(GROUPS, 0.5, COMMON_SEED) == half]
    seen = chosen[~held_back(chosen, 0.05, seed + 1)]
    share = held_back(seen, 0.05, seed_of_validation(seed)).mean()
    # binomial: 9,500 groups give 0.05 within 0.0022, four times which is 0.009
    assert share == pytest.approx(0.05, abs=0.009)
