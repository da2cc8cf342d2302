"""Options that say of photon tables what their files do not."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_reading", "reading_of"]

ORDERS = ("2024-07", "2024-08")
HALVES = ("first", "second")


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add the options to a command that reads tables of photon times."""
    group = parser.add_argument_group("tables of photon times")
    group.add_argument(
        "--order",
        choices=ORDERS,
        help="columns of work_eic's tensors: 2024-07 z, hit time, theta, p, time; from 2024-08 the "
        "hit time is the fourth",
    )
    group.add_argument(
        "--lever-arm",
        type=float,
        metavar="MM",
        help="of tensors: between the vertex and the point whose z they have",
    )
    group.add_argument(
        "--muons", choices=HALVES, help="take this half of the muons; default: all of them"
    )


def reading_of(options: argparse.Namespace) -> dict[str, Any]:
    """What was told, for `processors.trainables.Trainable.load`."""
    return {"order": options.order, "lever_arm": options.lever_arm, "muons": options.muons}
