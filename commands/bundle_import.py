"""Convert a model that was trained elsewhere into a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.console import complain, results

if TYPE_CHECKING:
    from flows.bundle import Bundle

__all__ = ["add_import", "run_import"]


def add_import(actions: Any) -> None:
    """Add ``import`` and its libraries to the actions of ``bundle``."""
    summary = "convert a model of nflows, normflows or zuko"
    action = actions.add_parser("import", help=summary, description=summary)
    libraries = action.add_subparsers(dest="library", required=True, metavar="LIBRARY")
    _nflows(libraries)
    _normflows(libraries)
    _zuko(libraries)


def run_import(options: argparse.Namespace) -> int:
    """Import, save, report; return 0, or 2 where something is missing or does not fit."""
    try:
        bundle = _CONVERT[options.library](options)
        path = bundle.save(options.output)
    except (ValueError, OSError) as error:
        complain(error, verbose=options.verbose)
        return 2
    results().print(f"{path} written: digest {bundle.digest}")
    return 0


def _common(libraries: Any, library: str, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = libraries.add_parser(
        library, help=summary, description=summary
    )
    parser.add_argument("weights", type=Path, metavar="WEIGHTS", help="file that torch.save wrote")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="BUNDLE",
        help="folder, or name ending in .zip",
    )
    parser.add_argument("--name", help="name of the model; default: that of the file")
    parser.add_argument("--era", default="unspecified", help="campaign of the training data")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    return parser


def _columns(parser: argparse.ArgumentParser, *, required: bool, default: str = "") -> None:
    what = "JSON file that describes conditions and targets"
    parser.add_argument(
        "--columns", type=Path, required=required, metavar="FILE", help=what + default
    )


def _nflows(libraries: Any) -> None:
    parser = _common(libraries, "nflows", "checkpoint of FlashSim, or a state dict of its flows")
    _columns(parser, required=True)
    parser.add_argument("--scale-factors", type=Path, metavar="FILE", help="scale_factors_*.json")
    parser.add_argument("--ranges", type=Path, metavar="FILE", help="ranges_*.json")
    parser.add_argument(
        "--hyperparameters",
        type=Path,
        metavar="FILE",
        help="JSON of model_hyperparams, where the checkpoint has none",
    )
    parser.add_argument(
        "--parametrisation",
        choices=["flashsim-clamped", "nflows"],
        default="flashsim-clamped",
        help="affine scales as FlashSim generates, or as nflows has them",
    )


def _normflows(libraries: Any) -> None:
    parser = _common(libraries, "normflows", "state dict of photon times (EIC KLM)")
    _columns(parser, required=False, default="; default: photon times from z, theta, p")
    parser.add_argument(
        "--lever-arm",
        type=float,
        metavar="MM",
        help="which z was trained with: 1 for models before 6 August 2024, 6 from then on",
    )
    parser.add_argument(
        "--normalisation",
        choices=["raw", "2025"],
        default="raw",
        help="raw mm, degrees, GeV, ns, or z/1500+0.5, theta/180, p/10, t/25",
    )
    parser.add_argument("--thickness", type=float, metavar="MM", help="of the bar")
    parser.add_argument("--decay-time", type=float, metavar="NS", help="of the scintillator")
    parser.add_argument(
        "--tail-bound", type=float, default=3.0, help="half-width of the splines' box"
    )


def _zuko(libraries: Any) -> None:
    parser = _common(libraries, "zuko", "state dict of corrections of simulation (NSF)")
    _columns(parser, required=False, default="; default: 16 variables of photons of Run 3")
    parser.add_argument(
        "--normalisation",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="with input_means.npy, input_std.npy, conditions_means.npy, conditions_std.npy",
    )
    parser.add_argument("--transforms", type=int, required=True, help="number of transforms")
    parser.add_argument(
        "--hidden", type=int, nargs="+", required=True, metavar="UNITS", help="of every layer"
    )
    parser.add_argument("--bins", type=int, required=True, help="of every spline")
    parser.add_argument("--passes", type=int, help="2 for coupling; default: autoregressive")
    parser.add_argument("--hoe-shift", type=float, help="of the zeros of H/E; default: 0.001")


def _convert_nflows(options: argparse.Namespace) -> Bundle:
    from flows.importers import import_nflows

    return import_nflows(
        options.weights,
        options.columns,
        scale_factors=options.scale_factors,
        ranges=options.ranges,
        hyperparameters=options.hyperparameters,
        parametrisation=options.parametrisation,
        name=options.name,
        era=options.era,
    )


def _convert_normflows(options: argparse.Namespace) -> Bundle:
    from flows.importers import import_normflows

    return import_normflows(
        options.weights,
        lever_arm=options.lever_arm,
        normalisation=options.normalisation,
        thickness=options.thickness,
        decay_time=options.decay_time,
        columns=options.columns,
        tail_bound=options.tail_bound,
        name=options.name,
        era=options.era,
    )


def _convert_zuko(options: argparse.Namespace) -> Bundle:
    from flows.importers import import_zuko

    return import_zuko(
        options.weights,
        options.normalisation,
        transforms=options.transforms,
        hidden_features=options.hidden,
        bins=options.bins,
        passes=options.passes,
        columns=options.columns,
        hoe_shift=options.hoe_shift,
        name=options.name,
        era=options.era,
    )


_CONVERT = {"nflows": _convert_nflows, "normflows": _convert_normflows, "zuko": _convert_zuko}
