"""Credentials kept out of whatever is written or printed."""

from __future__ import annotations

import logging
import re

__all__ = ["RedactingFormatter", "redact"]

HIDDEN = "***"
_USER = re.compile(r"(?<=://)[^/\s\"'<>\\]+@")
_QUERY = re.compile(
    r"(?<![A-Za-z0-9+.-])([A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>?\\]*[?])[^\s\"'<>\\]+"
)
# servers repeat what they were asked, without the beginning of the URL
_VALUE = re.compile(
    r"\b(authz|access_token|token|password|passwd|secret|signature|sig|x-amz-[a-z-]+)"
    r"=[^\s\"'<>&,;\\]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(bearer(?:\s|%20)+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)


def redact(text: str) -> str:
    """Text without user names and passwords in URLs, without what follows the ``?`` of one.

    Example:
        >>> redact("no such file: https://me:word@host:80/a.root?authz=Bearer%20eyJ0, gave up")
        'no such file: https://***@host:80/a.root?*** gave up'
        >>> redact("root://host//store/a.root"), redact("[3010] /store/a.root?authz=eyJ0 refused")
        ('root://host//store/a.root', '[3010] /store/a.root?authz=*** refused')
    """
    text = _QUERY.sub(rf"\1{HIDDEN}", _USER.sub(f"{HIDDEN}@", text))
    return _BEARER.sub(rf"\1{HIDDEN}", _VALUE.sub(rf"\1={HIDDEN}", text))


class RedactingFormatter(logging.Formatter):
    """Formatter whose lines hold no credentials, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        return redact(super().format(record))
