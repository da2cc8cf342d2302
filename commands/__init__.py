"""Sub-commands of the command line."""

from __future__ import annotations

__all__ = ["SUBCOMMANDS"]

SUBCOMMANDS = {
    "train": "commands.train",
    "report": "commands.report",
    "bundle": "commands.bundle",
    "agreement": "commands.agreement",
}
"""Name to module; whatever else comes first on the command line is a processor (`commands.run`)."""
