"""What happens before the first chunk: options become a processor, a plan and settings."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from commands.configuration import processor_options, refuse_ignored, settle
from commands.console import complain
from commands.executor_options import execution_settings
from commands.file_progress import FileProgress
from executors.errors import ConfigurationError, first_line
from executors.retry import RetryPolicy

if TYPE_CHECKING:
    from coffea.processor import ProcessorABC

    from executors.inputs.fileset import FileEntry
    from executors.plan import Plan
    from executors.results.copying import Destination
    from executors.results.state import RunIdentity
    from executors.settings import ExecutorSettings

__all__ = ["EVENT_COLUMNS", "Preparation", "build_processor", "prepare"]

EVENT_COLUMNS = ("run", "luminosityBlock", "event")
"""What identifies an event, where the processor's attribute ``event_columns`` says nothing else."""


@dataclass(frozen=True)
class Preparation:
    """Everything a run needs; nothing has been written yet.

    ``options`` are settled (see `commands.configuration`), ``provenance`` is what the processor
    says of itself, ``identity`` is what its results depend on, ``destination`` is where they are
    copied in the end.
    """

    options: argparse.Namespace
    processor: ProcessorABC
    provenance: Mapping[str, Any]
    plan: Plan
    settings: ExecutorSettings
    retry: RetryPolicy
    identity: RunIdentity
    destination: Destination | None = None


def prepare(options: argparse.Namespace) -> Preparation:
    """Check the options, build the processor, open the files.

    Raises: ValueError or OSError with one message for the user.
    """
    _refuse_unsupported(options)
    settings = execution_settings(options)
    _tell_unused(settings)
    retry = RetryPolicy(options.retries + 1, options.retry_delay)
    for name, value in settings.environment().items():
        os.environ.setdefault(name, value)  # before the first import of a numerical library
    # these take seconds to import: only after the cheap checks, and under the limits above
    from commands.identity import run_identity
    from executors.execution import check_travels
    from executors.loading import load_class
    from executors.results.copying import Destination
    from executors.results.output import refuse_shared_folders
    from processors import BUILTIN
    from processors.folders import dataset_folder

    destination = Destination(options.copy_to, retry) if options.copy_to else None
    options, further = settle(options)
    kind = load_class(options.processor, BUILTIN)
    refuse_ignored(options, kind)
    if options.format == "none" and options.merge != "none":
        msg = (
            f"--merge {options.merge} joins files that --format none does not write; leave one out"
        )
        raise ConfigurationError(msg)
    processor = build_processor(kind, processor_options(options, further))
    # looks at models and device: what is wrong with them is an argument that is wrong
    provenance = getattr(processor, "provenance", dict)()
    check_travels(processor, settings)
    _check_credentials(options, settings)
    plan = _plan(options, kind, retry)
    refuse_shared_folders(plan.datasets, dataset_folder)
    identity = run_identity(options, further, kind, provenance)
    return Preparation(options, processor, provenance, plan, settings, retry, identity, destination)


def _check_credentials(options: argparse.Namespace, settings: ExecutorSettings) -> None:
    """Look at the proxy and the token that files and jobs will need."""
    from executors.credential_use import LIFETIME, check_for_urls, check_reaches_nodes
    from executors.inputs.fileset_json import read_fileset

    names = [*options.inputs, options.copy_to or ""]
    if options.fileset:
        names += [entry.file for entry in read_fileset(options.fileset)]
    site = settings.site
    check_for_urls(names, LIFETIME if site is None else site.credential_lifetime)
    if site is not None and not options.dry_run:
        check_reaches_nodes(site)


def _plan(options: argparse.Namespace, kind: type[Any], retry: RetryPolicy) -> Plan:
    """Look into the files, cut them into chunks, look for duplicates where that was asked for."""
    from executors.duplicates import check_duplicates
    from executors.inputs.facts_cache import FactsCache, cache_folder
    from executors.inputs.opening import inspect_file
    from executors.plan import Limits, plan_fileset

    columns = getattr(kind, "event_columns", EVENT_COLUMNS)
    if options.check_duplicates and not columns:
        msg = (
            f"--check-duplicates compares event numbers, and what {options.processor} reads has "
            "none; leave it out: a file under two names is found without it"
        )
        raise ConfigurationError(msg)
    entries = _entries(options, kind, retry)
    cache = None if options.look_again else FactsCache(cache_folder())
    with FileProgress("looking into files") as looking:
        plan = plan_fileset(
            entries,
            chunk_size=options.chunksize,
            limits=Limits(options.max_files, options.max_chunks),
            test=options.test,
            inspect=cache or inspect_file,
            retry=retry,
            looked=looking.heard,
        )
    if cache is not None:
        cache.save()
    if options.check_duplicates:
        with FileProgress("looking for duplicates") as looking:
            plan = check_duplicates(plan, columns, retry=retry, looked=looking.heard)
    return plan


def build_processor(kind: type[Any], options: Mapping[str, Any]) -> ProcessorABC:
    """Build a processor from the options it gets, see `processor_options`.

    A class without ``from_options`` is called without arguments.

    Raises: ValueError where the processor refuses them.
    """
    from_options = getattr(kind, "from_options", None)
    try:
        processor: ProcessorABC = kind() if from_options is None else from_options(options)
    except TypeError as error:
        msg = (
            f"{kind.__name__} cannot be built ({first_line(error)}); it needs a class method "
            "from_options(options), or a constructor without arguments"
        )
        raise ConfigurationError(msg) from error
    return processor


def _entries(options: argparse.Namespace, kind: type[Any], retry: RetryPolicy) -> list[FileEntry]:
    """Files to process: those named, else those that the processor ships."""
    from executors.inputs.fileset import DEFAULT_TREE, SUFFIXES, from_inputs, refuse_other_formats
    from executors.inputs.fileset_json import read_fileset

    wanted = getattr(kind, "input_format", "root")
    tree = getattr(kind, "tree", DEFAULT_TREE)
    if options.fileset:
        entries = read_fileset(options.fileset, tree=tree)
        refuse_other_formats(entries, wanted)
        return entries
    shipped = getattr(kind, "default_inputs", list)
    inputs = options.inputs or [str(path) for path in shipped()]
    if not inputs:
        msg = f"{options.processor} ships no sample: name INPUT files or a --fileset"
        raise ConfigurationError(msg)
    entries = from_inputs(inputs, tree=tree, suffix=SUFFIXES[wanted], retry=retry)
    refuse_other_formats(entries, wanted)
    return entries


def _tell_unused(settings: ExecutorSettings) -> None:
    """Name a number of workers that changes nothing; a script for all executors may give it."""
    if settings.workers is None:
        return
    if settings.scheduler is not None:
        complain(f"--workers is not used: {settings.scheduler} has the workers that it has")
    elif settings.kind == "iterative":
        complain("--workers is not used: --executor iterative runs in this process alone")


def _refuse_unsupported(options: argparse.Namespace) -> None:
    """Say what this version cannot do, and what is wrong beyond argparse."""
    if not 0.0 <= options.max_failed_fraction <= 1.0:
        msg = f"--max-failed-fraction must lie in [0, 1], found {options.max_failed_fraction}"
    elif options.dask_report and options.executor in ("iterative", "futures"):
        msg = f"--dask-report needs --executor dask, htcondor or casa, found {options.executor}"
    else:
        return
    raise ConfigurationError(msg)
