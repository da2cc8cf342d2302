"""Processor for tests: takes its time over each chunk; loaded as path.py:Class."""

import time

import awkward as ak
from coffea.nanoevents import BaseSchema
from coffea.processor import ProcessorABC


class Sleepy(ProcessorABC):
    """Sums event numbers, one second per chunk."""

    schema = BaseSchema

    def process(self, events):
        time.sleep(1)
        counters = {"events.read": len(events), "event numbers": int(ak.sum(events.event))}
        return {events.metadata["dataset"]: {"hists": {}, "counters": counters, "outputs": []}}

    def postprocess(self, accumulator):
        """Nothing to add."""
