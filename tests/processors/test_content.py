"""What of the input goes into the output, in an order that does not depend on the process."""

from __future__ import annotations

import random

import awkward as ak

from processors.content import carried


def test_the_order_of_branches_is_the_same_in_every_process():
    names = ["run", "event", "luminosityBlock", "GenPart", "GenJet", "LHE_HT", "genWeight", "Jet"]
    orders = []
    for seed in range(5):
        random.Random(seed).shuffle(names)
        orders.append(carried(ak.Array([dict.fromkeys(names, 1)])))
    assert orders == [orders[0]] * 5
    assert {"run", "GenPart", "GenJet"} <= set(orders[0])
    assert "Jet" not in orders[0]
