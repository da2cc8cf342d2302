"""Errors that a processor raises about its input or its configuration."""

from __future__ import annotations

__all__ = ["ConfigurationError", "InputError", "MissingBranchError", "NotSimulationError"]


class InputError(ValueError):
    """The chunk cannot be processed; the message says what is wrong, where, what to do."""


class NotSimulationError(InputError):
    """The file holds no generator collections: collision data, or simulation stripped of them."""


class MissingBranchError(InputError):
    """A branch that a model conditions on is absent."""


class ConfigurationError(ValueError):
    """The options given to a processor contradict each other or the bundles."""
