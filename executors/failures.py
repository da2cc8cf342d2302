"""What kind of failure an exception is: worth another attempt, or the same again."""

from __future__ import annotations

import errno
from typing import Literal

__all__ = ["exception_chain", "is_transient", "kind_of"]

# coffea wraps what a processor raises into plain Exceptions that start with these words
_WRAPPERS = ("Failed processing file:", "Failed creating nanoevents:", "Failed to open file:")
# errors of these packages speak of the network, though not all of them are OSErrors
_NETWORK = ("XRootD", "aiohttp", "fsspec_xrootd")
_LASTING_TYPES = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)
_LASTING_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENAMETOOLONG)


def exception_chain(error: BaseException) -> list[BaseException]:
    """Exceptions from the outermost to the one that started it, coffea's own wrappers left out."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    kept = [one for one in chain if not (type(one) is Exception and str(one).startswith(_WRAPPERS))]
    return kept or chain


def kind_of(error: BaseException) -> Literal["transient", "permanent"]:
    """``transient`` where any exception of the chain is, else ``permanent``."""
    return "transient" if any(map(is_transient, exception_chain(error))) else "permanent"


def is_transient(error: BaseException) -> bool:
    """Whether another attempt may help: storage or network failed, though the place is there.

    A missing file, missing permission, full disk or read-only disk stays as it is.

    Example:
        >>> is_transient(ConnectionResetError()), is_transient(OSError(errno.ENOSPC, "full"))
        (True, False)
    """
    if type(error).__module__.partition(".")[0] in _NETWORK:
        return True
    if not isinstance(error, OSError | EOFError) or isinstance(error, _LASTING_TYPES):
        return False
    return getattr(error, "errno", None) not in _LASTING_NUMBERS
