from __future__ import annotations

import numpy as np

from processors.flashsim.output import event_content
from processors.identity import EventIds


def test_drawn_pileup_never_replaces_what_is_stored() -> None:
    one = np.ones(2, np.uint32)
    ids = EventIds(one, one, np.arange(2, dtype=np.uint64), digested=False)
    stored = np.array([31, 32], np.int32)
    drawn = {"Pileup_nPU": np.zeros(2, np.int32), "Pileup_sumEOOT": np.full(2, 7, np.int32)}
    made = event_content({"Pileup_nPU": stored}, {}, ids, np.ones(2), drawn, folds=1)
    assert np.array_equal(made["Pileup_nPU"], stored)
    assert np.array_equal(made["Pileup_sumEOOT"], drawn["Pileup_sumEOOT"])
