"""Events and files that a plan holds more than once, looked for before the first chunk."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from multiprocessing.pool import ThreadPool
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq
import uproot
from coffea.processor.executor import WorkItem

from executors.errors import first_line, root_cause
from executors.inputs.fileset import SUFFIXES
from executors.inputs.inspection import OPENERS
from executors.inputs.opening import TIMEOUT
from executors.plan import Plan
from executors.retry import RetryPolicy

__all__ = ["check_duplicates"]

PAIRS = 100  # pairs of files named for each dataset, those with most events; chosen

_Columns = list["np.ndarray[Any, Any]"]


def check_duplicates(
    plan: Plan,
    columns: Sequence[str],
    *,
    retry: RetryPolicy | None = None,
    looked: Callable[[int, int], object] | None = None,
) -> Plan:
    """Read what identifies the events of a plan; return the plan with what occurs twice.

    Every column of every planned entry is read, several files at a time, and held at once for one
    dataset: 12 bytes and 8 per column for each event.

    Arguments:
        plan: Chunks.
        columns: Columns that together identify an event, of integers.
        retry: How often to try a file whose storage fails; three times if None.
        looked: Called with the number of files read so far and of all files.
    """
    datasets: dict[str, dict[str, list[WorkItem]]] = {}
    for item in plan.items:
        datasets.setdefault(item.dataset, {}).setdefault(item.filename, []).append(item)
    total, done, sections = sum(map(len, datasets.values())), 0, {}
    policy = retry or RetryPolicy()
    for name, files in datasets.items():

        def read(chunks: list[WorkItem]) -> _Columns | str:
            return _read(chunks, columns, policy)

        found: list[_Columns | str] = []
        with ThreadPool(min(OPENERS, len(files))) as pool:
            for result in pool.imap(read, files.values()):
                found.append(result)
                done += 1
                if looked is not None:
                    looked(done, total)
        sections[name] = _section(list(files), found, len(columns))
    same = [
        {"uuid": str(file.uuid), "places": [list(place) for place in file.places]}
        for file in plan.same_files
    ]
    told = {"columns": list(columns), "files": same, "datasets": sections}
    notes = (*plan.notes, *_notes(told))
    return dataclasses.replace(plan, duplicates=told, notes=notes)


def _read(chunks: Sequence[WorkItem], columns: Sequence[str], retry: RetryPolicy) -> _Columns | str:
    """Columns of all chunks of a file, or why they cannot be read."""
    first = chunks[0]

    def parts() -> list[Mapping[str, Any]]:
        if first.filename.partition("?")[0].endswith(SUFFIXES["parquet"]):
            with fsspec.open(first.filename, "rb") as content:
                table = pq.ParquetFile(content).read(columns=list(columns))
            whole = {name: table.column(name).to_numpy() for name in columns}
            return [
                {name: whole[name][chunk.entrystart : chunk.entrystop] for name in columns}
                for chunk in chunks
            ]
        with uproot.open({first.filename: None}, timeout=TIMEOUT) as file:
            tree = file[first.treename]
            return [
                tree.arrays(
                    list(columns),
                    entry_start=chunk.entrystart,
                    entry_stop=chunk.entrystop,
                    library="np",
                )
                for chunk in chunks
            ]

    try:
        read, _ = retry.call(parts, first.filename)
        # negative numbers wrap: as good to compare, and one type for all
        return [
            np.concatenate([part[name].astype(np.uint64, casting="unsafe") for part in read])
            for name in columns
        ]
    except Exception as error:
        cause = root_cause(error)
        return f"{type(cause).__name__}: {first_line(cause)}"


def _section(files: Sequence[str], found: Sequence[_Columns | str], columns: int) -> dict[str, Any]:
    """What one dataset holds more than once."""
    unread = [
        {"file": file, "reason": result}
        for file, result in zip(files, found, strict=True)
        if isinstance(result, str)
    ]
    good = [(i, result) for i, result in enumerate(found) if not isinstance(result, str)]
    values = [
        np.concatenate([result[c] for _, result in good] or [np.empty(0, np.uint64)])
        for c in range(columns)
    ]
    owner = np.repeat(
        np.array([i for i, _ in good], np.int32), [len(result[0]) for _, result in good]
    )
    order = np.lexsort(values)  # stable: the first of equal events is the first of the plan
    ordered = [column[order] for column in values]
    same = np.ones(max(len(order) - 1, 0), bool)
    for column in ordered:
        same &= column[1:] == column[:-1]
    again = np.flatnonzero(same) + 1
    fresh = np.ones(len(order), bool)
    fresh[again] = False
    origin = np.maximum.accumulate(np.where(fresh, np.arange(len(order)), 0))[again]
    pairs = np.stack([owner[order[origin]], owner[order[again]]], axis=1)
    kinds, first, counts = np.unique(pairs, axis=0, return_index=True, return_counts=True)
    ranked = np.argsort(-counts, kind="stable")
    return {
        "events": len(order),
        "repeated": len(again),
        "pairs": [
            {
                "first": files[kinds[k][0]],
                "again": files[kinds[k][1]],
                "events": int(counts[k]),
                "example": [int(column[again[first[k]]]) for column in ordered],
            }
            for k in ranked[:PAIRS]
        ],
        "pairs_left_out": max(len(ranked) - PAIRS, 0),
        "unread": unread,
    }


def _notes(told: Mapping[str, Any]) -> Iterable[str]:
    """What was found, in sentences."""
    for file in told["files"]:
        places = ", ".join(f"{name} in dataset {dataset!r}" for dataset, name in file["places"])
        yield f"one file under several names (UUID {file['uuid']}): {places}"
    names = ", ".join(told["columns"])
    for dataset, section in told["datasets"].items():
        if section["repeated"]:
            pair = section["pairs"][0]
            inside = pair["first"] == pair["again"]
            where = "within" if inside else f"in {pair['first']} and again in"
            example = ":".join(map(str, pair["example"]))
            yield (
                f"dataset {dataset!r}: {section['repeated']:,} of {section['events']:,} events "
                f"have the ({names}) of another, {pair['events']:,} of them {where} "
                f"{pair['again']} (such as {example}); they are not independent"
            )
        for file in section["unread"]:
            yield f"{file['file']} was not searched for repeated events ({file['reason']})"
