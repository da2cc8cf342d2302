"""Command line of flashbrew: run a processor, or one of the sub-commands beside it."""

from __future__ import annotations

import atexit
import gc
import importlib
import sys
from collections.abc import Sequence

from commands import SUBCOMMANDS

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Dispatch to the module of the first argument; return the exit status."""
    # an interpreter that ends would look for garbage among all that was imported, for a second
    atexit.register(gc.freeze)
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in SUBCOMMANDS:
        module, arguments = SUBCOMMANDS[arguments[0]], arguments[1:]
    else:
        module = "commands.run"
    status: int = importlib.import_module(module).main(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
