"""Processor for tests: several chunks of a worker call one stage; loaded as path.py:Class."""

import time

import numpy as np
from coffea.nanoevents import BaseSchema
from coffea.processor import ProcessorABC

ROWS = 64  # of a call; a micro-batch holds four calls


class Reading(ProcessorABC):
    """Sends a few rows per chunk to a slow stage that all threads of the process share."""

    schema = BaseSchema

    def __init__(self):
        self.stages = {}

    def process(self, events):
        stage = self.stages.get("slow") or self.stages.setdefault("slow", slow_stage())
        stage.apply(np.zeros((ROWS, 2), np.float32))
        counters = {"events.read": len(events), f"batches.{stage.stats.work.batches}": 1}
        return {events.metadata["dataset"]: {"hists": {}, "counters": counters, "outputs": []}}

    def postprocess(self, accumulator):
        """Nothing to add."""


def slow_stage():
    from flows.batching import ComputePool, Stage

    def compute(rows):
        time.sleep(0.1)
        return (rows,)

    return Stage(ComputePool(1), compute, 4 * ROWS)
