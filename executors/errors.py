"""The error that a wrong request gets, and what a chain of exceptions says."""

from __future__ import annotations

__all__ = ["ConfigurationError", "first_line", "root_cause"]


class ConfigurationError(ValueError):
    """Something the user asked for cannot be done; the message says what, where, what to do."""


def root_cause(error: BaseException) -> BaseException:
    """Follow ``raise ... from`` and implicit contexts to the exception that started it."""
    seen = {id(error)}
    while (cause := error.__cause__ or error.__context__) is not None and id(cause) not in seen:
        seen.add(id(cause))
        error = cause
    return error


def first_line(error: BaseException) -> str:
    """First non-empty line of the message of an exception, or its type where it says nothing.

    Example:
        >>> first_line(ValueError("broken\\nsecond line"))
        'broken'
        >>> first_line(KeyError())
        'KeyError'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
