"""How the command line speaks: results on standard output, complaints on standard error."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings

from rich.console import Console

from executors.redaction import RedactingFormatter, redact

__all__ = ["complain", "configure", "results"]

WIDTH = 140  # columns where standard output is no terminal; chosen


def results() -> Console:
    """Console for results."""
    console = Console(markup=False, highlight=False)
    return console if console.is_terminal else Console(markup=False, highlight=False, width=WIDTH)


def configure(verbose: bool) -> None:
    """Set up logging; silence what coffea repeats for every chunk, and XRootD's look at torch."""
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_ours_or_serious)
        handler.setFormatter(RedactingFormatter("%(levelname)s %(message)s"))
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"XRootD\.client\.finalize")
    if not verbose:
        module = r"coffea\.nanoevents\.schemas\.nanoaod"
        warnings.filterwarnings("ignore", category=RuntimeWarning, module=module)


def _is_ours_or_serious(record: logging.LogRecord) -> bool:
    """Let Dask, which sets its own levels, speak of errors alone: chunks are reported anyway."""
    return not record.name.startswith("distributed") or record.levelno >= logging.ERROR


def complain(error: BaseException | str, *, verbose: bool = False) -> None:
    """Print one message, without credentials; the traceback only where it was asked for."""
    if verbose and isinstance(error, BaseException):
        print(redact("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    print(redact(f"flashbrew: {error}"), file=sys.stderr)
