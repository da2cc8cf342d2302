"""What kind of failure an exception is: worth another attempt, or the same again."""

from __future__ import annotations

import errno
import re
from typing import Literal

__all__ = ["exception_chain", "is_transient", "kind_of", "of_network"]

# errors of these packages speak of the network, though not all of them are OSErrors
_NETWORK = ("XRootD", "aiohttp", "fsspec_xrootd")
_LASTING_TYPES = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)
# kXR_NotAuthorized, kXR_NotFound, kXR_NotFile, kXR_isDirectory of an XRootD server. A redirector
# says kXR_NotFound too where the servers that have a file are down: that may pass
_XROOTD_LASTING = re.compile(r"\[(3010|3015|3016)\]|\[3011\].*no such file", re.IGNORECASE)
_HTTP_PASSING = (408, 425, 429)  # of the client errors, those that say: later
# fsspec returns what went wrong with one of several requests, and uproot takes it for bytes
_TAKEN_FOR_BYTES = re.compile(r"'\w*(Error|Timeout\w*|Disconnected)' object is not subscriptable")
_CLOSED = "I/O operation on closed file"  # another thread met the same broken connection first
_LASTING_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENAMETOOLONG)


def exception_chain(error: BaseException) -> list[BaseException]:
    """Exceptions from the outermost to the one that started it."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return chain


def kind_of(error: BaseException) -> Literal["transient", "permanent"]:
    """``transient`` where any exception of the chain is, else ``permanent``."""
    return "transient" if any(map(is_transient, exception_chain(error))) else "permanent"


def of_network(error: BaseException) -> bool:
    """Whether a package that speaks to servers raised this error as one of its own."""
    return type(error).__module__.partition(".")[0] in _NETWORK


def is_transient(error: BaseException) -> bool:
    """Whether another attempt may help: storage or network failed, though the place is there.

    A missing file, missing permission, full disk or read-only disk stays as it is, and so does
    what a server refuses for such a reason.

    Example:
        >>> is_transient(ConnectionResetError()), is_transient(OSError(errno.ENOSPC, "full"))
        (True, False)
    """
    if isinstance(error, ValueError) and str(error) == _CLOSED:
        return True
    if isinstance(error, TypeError) and _TAKEN_FOR_BYTES.fullmatch(str(error)):
        return True
    if of_network(error):
        status = getattr(error, "status", None)
        asked_wrongly = isinstance(status, int) and 400 <= status < 500
        return not asked_wrongly or status in _HTTP_PASSING
    if not isinstance(error, OSError | EOFError) or isinstance(error, _LASTING_TYPES):
        return False
    if _XROOTD_LASTING.search(str(error)):
        return False
    return getattr(error, "errno", None) not in _LASTING_NUMBERS
