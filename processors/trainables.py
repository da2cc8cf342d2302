"""What can be trained: for each, how its tables are made, fitted and judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol

from flows.bundle import Bundle
from flows.optimise import Progress
from processors.base import FlowProcessor
from processors.errors import ConfigurationError

__all__ = ["TRAINABLE", "Trainable", "refuse_told", "trainable"]

TRAINABLE: Mapping[str, str] = {
    "flashsim.muon": "processors.flashsim.training:MUON_TRAINING",
    "flashsim.jet": "processors.flashsim.training:JET_TRAINING",
    "timing.photon": "processors.timing.training:PHOTON_TRAINING",
}
"""Name on the command line to ``module:object``; nothing is imported until it is used."""


class Trainable(Protocol):
    """A model that `train` makes.

    Attributes:
        name: Of its tables' files and of the bundle.
        networks: Whose losses ``card.metrics`` holds, in the order of their training.
        endings: Of files that are tables already and need no extraction.
    """

    name: str
    networks: tuple[str, ...]
    endings: tuple[str, ...]

    def extraction(self, options: Mapping[str, Any]) -> FlowProcessor:
        """Processor that writes the tables.

        Arguments:
            options: As in `FlowProcessor.from_options`; with them, what was told of tables.
        Raises: ConfigurationError where that has no effect on tables made of events.
        """
        ...

    def load(self, paths: Sequence[str], reading: Mapping[str, Any]) -> Any:
        """Tables of files, as one; ``reading``: what files do not say of themselves.

        Raises: ValueError where a file is no such table.
        """
        ...

    def hold_out(self, table: Any, share: float, seed: int) -> tuple[Any, Any]:
        """Split off a share of the events, or muons, that training never sees."""
        ...

    def size(self, table: Any) -> tuple[int, str]:
        """How many things there are to judge a model by; one line about the table."""
        ...

    def train(
        self,
        table: Any,
        run: Mapping[str, Any],
        recipe: Mapping[str, Any],
        progress: Callable[[Progress], None],
        start_from: Bundle | None,
    ) -> Bundle:
        """Fit.

        Arguments:
            run: Fields of :class:`flows.training_run.RunSettings`.
            recipe: Fields of the flow's :class:`flows.optimise.Recipe` that are not the usual ones.
        """
        ...

    def evaluate(self, bundle: Bundle, table: Any, seed: int) -> dict[str, Any]:
        """Metrics on rows that training did not see; ``closure`` lists distances by variable."""
        ...

    def verdict(self, metrics: Mapping[str, Any]) -> str:
        """One line about the metrics."""
        ...


def trainable(name: str) -> Trainable:
    """What has a name.

    Raises: ConfigurationError listing the names there are.
    """
    if name not in TRAINABLE:
        message = f"object {name!r} cannot be trained; choose from {', '.join(TRAINABLE)}"
        raise ConfigurationError(message)
    module, _, attribute = TRAINABLE[name].partition(":")
    found: Trainable = getattr(import_module(module), attribute)
    return found


def refuse_told(
    reading: Mapping[str, Any], names: Sequence[str], what: str, instead: str = "leave it out"
) -> None:
    """Refuse what was told of tables that say it themselves, or of events.

    Arguments:
        reading: What was told; others than ``names`` may be.
        names: What ``what`` have no use for.
        instead: What to do.
    Raises: ConfigurationError naming the options.
    """
    told = [f"--{name.replace('_', '-')}" for name in names if reading.get(name) is not None]
    if told:
        message = f"{what} have no use for {', '.join(told)}; {instead}"
        raise ConfigurationError(message)
