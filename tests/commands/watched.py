"""Processor for tests: the flash simulation, which says in which processes it ran."""

import os

from processors.flashsim.processor import FlashSim


class Watched(FlashSim):
    """Counts the chunks of every process."""

    def process(self, events):
        result = super().process(events)
        result[events.metadata["dataset"]]["counters"][f"processes.{os.getpid()}"] = 1
        return result
