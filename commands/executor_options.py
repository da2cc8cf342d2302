"""Options that say where a run computes, shared by the commands that run chunks."""

from __future__ import annotations

import argparse
from pathlib import Path

from executors.credentials import TlsFiles
from executors.errors import ConfigurationError
from executors.settings import KINDS, ExecutorSettings

__all__ = ["add_execution", "execution_settings"]

_TLS = ("tls_ca", "tls_cert", "tls_key")


def add_execution(parser: argparse.ArgumentParser) -> None:
    """Add the options; `--help` shows them as a group."""
    group = parser.add_argument_group("where it runs")
    group.add_argument("--executor", choices=KINDS, default="futures", help="default: futures")
    group.add_argument(
        "--workers", type=int, metavar="N", help="processes, or jobs; default: one per core"
    )
    group.add_argument(
        "--readers",
        type=int,
        default=1,
        metavar="N",
        help="chunks that a worker reads at a time, for one GPU; needs --executor dask; default: 1",
    )
    group.add_argument(
        "--scheduler", metavar="ADDRESS", help="Dask scheduler, tcp://HOST:PORT or tls://HOST:PORT"
    )
    for name, what in zip(_TLS, ("authority", "own certificate", "own key")):
        option = f"--{name.replace('_', '-')}"
        group.add_argument(option, metavar="FILE.pem", help=f"{what}, for --scheduler tls://")
    group.add_argument(
        "--site",
        metavar="NAME|FILE.yaml",
        help="HTCondor site: generic, lxplus, lpc, rwth, or a file; default: generic",
    )
    group.add_argument(
        "--insecure", action="store_true", help="HTCondor jobs reach their scheduler without TLS"
    )


def execution_settings(options: argparse.Namespace) -> ExecutorSettings:
    """Settings that the options ask for.

    Raises: ConfigurationError in one sentence.
    """
    site = None
    if options.executor == "htcondor":
        # imports pydantic: only those who submit jobs pay
        from executors.htcondor.sites import load_site

        site = load_site(options.site)
    elif options.site is not None:
        msg = f"--site needs --executor htcondor, found --executor {options.executor}"
        raise ConfigurationError(msg)
    return ExecutorSettings(
        kind=options.executor,
        workers=options.workers,
        scheduler=options.scheduler,
        tls=_tls(options),
        site=site,
        insecure=options.insecure,
        readers=options.readers,
    )


def _tls(options: argparse.Namespace) -> TlsFiles | None:
    """Files of the TLS options: all three, or none."""
    names = [getattr(options, name) for name in _TLS]
    if not any(names):
        return None
    if not all(names):
        msg = "--tls-ca, --tls-cert and --tls-key belong together; name all three"
        raise ConfigurationError(msg)
    return TlsFiles(*(Path(name).expanduser().absolute() for name in names))
