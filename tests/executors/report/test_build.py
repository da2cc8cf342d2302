"""The report, against its schema and against the run."""

from __future__ import annotations

import dataclasses
import io
import json
import re

import numpy as np
import pytest
from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker
from uhi.schema import histogram_file

from executors.errors import ConfigurationError
from executors.execution import RunResult, execute
from executors.inputs.fileset import FileEntry
from executors.ledger import ChunkRecord, Ledger, UnknownFile
from executors.plan import plan_fileset
from executors.report.build import (
    SCHEMA,
    RunDescription,
    build_report,
    exit_status,
    read_report,
    restore_accumulator,
    write_report,
)
from executors.report.summary import (
    complaints,
    dataset_table,
    distance_tables,
    model_table,
    object_table,
)
from executors.results.histograms import read_histograms, write_histograms
from executors.resume import Resumption
from executors.retry import RetryPolicy
from executors.settings import KINDS, ExecutorSettings

ITERATIVE = ExecutorSettings("iterative")
PAIR = {"first": "a.root", "again": "b.root", "events": 2, "example": [1, 1, 7]}
DUPLICATES = {
    "columns": ["run", "luminosityBlock", "event"],
    "files": [{"uuid": "0" * 32, "places": [["good", "a.root"], ["mixed", "b.root"]]}],
    "datasets": {
        "good": {
            "events": 250,
            "repeated": 2,
            "pairs": [PAIR],
            "pairs_left_out": 0,
            "unread": [{"file": "c.root", "reason": "KeyError: run"}],
        }
    },
}


@pytest.fixture(scope="module")
def schema():
    content = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(content)
    return content


@pytest.fixture(scope="module")
def run(sample, counting, tmp_path_factory):
    """A run with everything in it: two datasets, a failed chunk, an unknown file, outputs."""
    output = tmp_path_factory.mktemp("run")
    entries = [
        FileEntry("good", str(sample[0])),
        FileEntry("mixed", str(sample[1])),
        FileEntry("mixed", "/absent.root", num_entries=7),
        FileEntry("gone", "/absent.root"),
    ]
    plan = dataclasses.replace(plan_fileset(entries, chunk_size=100), duplicates=DUPLICATES)
    result = execute(
        plan, counting(fail_at=260, output=output), ITERATIVE, retry=RetryPolicy(attempts=1)
    )
    first, *others = result.ledger.records
    first = dataclasses.replace(first, attempts=2, recovered="OSError: late")
    result = dataclasses.replace(
        result,
        ledger=Ledger((first, *others), result.ledger.unknown),
        unstored={"OSError: full": 2},
    )
    description = RunDescription(
        processor={"name": "counting", "class": "counting:Counting"},
        arguments={"seed": 3, "bundle": ["b"]},
        output=output,
        seed=3,
        provenance={
            "configuration": {"fail_at": np.int64(260)},
            "bundles": [{"name": "jet", "path": "b", "digest": "0" * 64}],
            "notes": ["a word"],
        },
    )
    validation = {"distances": [{"object": "Jet", "variable": "pt", "ks": np.float32("nan")}]}
    found = Resumption(stale=2, reasons=("2 chunks: another seed",)).summary()
    report = build_report(
        description,
        plan,
        ITERATIVE,
        result,
        validation=validation,
        resumption=found,
        joined={"good": {"files": 1, "events": 250, "chunks": 3}},
    )
    failed = [{"file": "events/a.root", "reason": "no space"}]
    report["copied"] = {"to": "root://host//out", "files": 3, "bytes": 9, "failed": failed}
    return report, result, output


def test_the_report_fits_its_schema(run, schema):
    report, _, output = run
    write_report(output / "report.json", report)
    strict = Draft202012Validator(schema, format_checker=FormatChecker())
    strict.validate(json.loads((output / "report.json").read_text()))
    strict.validate(read_report(output))
    assert report["validation"]["distances"][0]["ks"] is None


def described(node, definitions, path=""):
    """All paths that a schema describes, with ``*`` for any key or element."""
    node = definitions[node["$ref"].rpartition("/")[2]] if "$ref" in node else node
    for name, child in node.get("properties", {}).items():
        yield f"{path}/{name}"
        yield from described(child, definitions, f"{path}/{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from described(node[key], definitions, f"{path}/*")


def present(value, schema_paths, path=""):
    """All paths of a report, where the schema distinguishes names."""
    if isinstance(value, dict):
        for name, child in value.items():
            place = f"{path}/{name}" if f"{path}/{name}" in schema_paths else f"{path}/*"
            yield place
            yield from present(child, schema_paths, place)
    elif isinstance(value, list):
        for child in value:
            yield from present(child, schema_paths, f"{path}/*")


def test_the_schema_is_complete(run, schema):
    wanted = set(described(schema, schema["$defs"]))
    found = set(present(run[0], wanted))
    assert wanted - found == set(), "in the schema, never in a report"

    def undocumented(node, path=""):
        if path and "description" not in node and "const" not in node and "$ref" not in node:
            yield path
        for name, child in node.get("properties", {}).items():
            yield from undocumented(child, f"{path}/{name}")

    objects = {"/exit", "/processor", "/executor", "/fileset", "/time"}
    assert set(undocumented(schema)) <= objects
    data = schema["$defs"]["dataset"]
    assert set(undocumented(data)) <= {"/files", "/events", "/chunks"}


def test_a_misspelt_key_breaks_the_schema(run, schema):
    strict = Draft202012Validator(schema)
    for section in ("exit", "executor", "fileset", "time"):
        wrong = run[0] | {section: run[0][section] | {"colour": 1}}
        assert not strict.is_valid(wrong)
    assert not strict.is_valid(run[0] | {"extra": 1})


def test_the_numbers_are_those_of_the_run(run):
    report, _, output = run
    good, mixed, gone = (report["datasets"][name] for name in ("good", "mixed", "gone"))
    events = {"planned": 250, "read": 250, "written": 250, "failed": 0, "unknown": 0}
    assert good["events"] == events
    chunks = {"planned": 3, "done": 3, "reused": 0, "retried": 1, "failed": 0}
    assert good["chunks"] == chunks
    (recovery,) = good["recoveries"]
    assert (recovery["reason"], recovery["attempts"]) == ("OSError: late", 2)
    assert report["resume"]["stale"] == 2
    assert "results of 2 chunks could not be stored (OSError: full)" in report["notes"][-1]
    assert good["normalisation_complete"]
    assert good["outputs"] == sorted(good["outputs"])
    assert all((output / name).is_file() for name in good["outputs"])
    assert good["micro_batches"] == {"64": 3}
    assert good["seconds"] == {"read": 0.75}
    draw = {"calls": 8, "batches": 4, "rows": 192, "padded": 64, "samples": 384, "seconds": 2.0}
    rates = {"fill": 0.75, "samples_per_second": 192.0}
    assert report["models"] == [
        {"name": "jet", "digest": "0" * 64, "loads": 4, "stages": {"draw": draw | rates}}
    ]
    assert good["models"][f"{'0' * 64}.draw.rows"] == 144
    assert good["events_per_second"]["read"] == pytest.approx(250 / 0.75)
    assert good["counters"]["event numbers"] == sum(range(250))
    assert not any(name.startswith(("events.", "seconds.")) for name in good["counters"])
    assert mixed["events"] == {
        "planned": 130,
        "read": 30,
        "written": 30,
        "failed": 100,
        "unknown": 7,
    }
    assert not mixed["normalisation_complete"]
    assert mixed["failures"][0]["reason"] == "OSError: the disk went away"
    assert [error["type"] for error in mixed["failures"][0]["errors"]] == ["ValueError", "OSError"]
    assert gone["events"]["unknown"] is None
    assert gone["files"] == {"planned": 1, "unknown": 1}
    assert report["exit"]["status"] == 3
    assert report["exit"]["failed_fraction"] == pytest.approx(3 / 7)
    assert report["notes"][0] == "a word"
    assert [note.partition(":")[0] for note in report["notes"][1:-1]] == ["mixed", "gone"]


def result_of(done, failed, unknown=0, **others):
    records = [
        ChunkRecord("mc", "f", "u", "E", n, n + 1, "done" if n < done else "failed")
        for n in range(done + failed)
    ]
    files = tuple(UnknownFile("mc", str(n), "E", "") for n in range(unknown))
    return RunResult({}, Ledger(tuple(records), files), 1.0, **others)


@pytest.mark.parametrize(
    ("result", "fraction", "status"),
    [
        (result_of(4, 0), 1.0, 0),
        (result_of(3, 1), 1.0, 3),
        (result_of(3, 1), 0.25, 3),
        (result_of(3, 1), 0.2, 4),
        (result_of(3, 0, unknown=1), 0.25, 3),
        (result_of(3, 0, unknown=1), 0.0, 4),
        (result_of(0, 4), 1.0, 4),
        (result_of(0, 0, unknown=2), 1.0, 4),
        (result_of(4, 0, error=RuntimeError()), 1.0, 1),
        (result_of(2, 2, error=KeyboardInterrupt(), interrupted=True), 1.0, 130),
    ],
)
def test_exit_statuses(result, fraction, status):
    assert exit_status(result, fraction) == status


@pytest.mark.parametrize(
    ("fail_at", "steps", "complete"),
    [(None, None, True), (240, None, False), (5, None, False), (None, ((0, 100),), False)],
)
def test_the_normalisation_is_complete_only_where_all_was_done(
    fail_at, steps, complete, sample, counting, tmp_path
):
    plan = plan_fileset([FileEntry("mc", str(sample[0]), steps=steps)], chunk_size=100)
    result = execute(plan, counting(fail_at=fail_at), ITERATIVE, retry=RetryPolicy(attempts=1))
    description = RunDescription({"name": "c", "class": "c:C"}, {}, tmp_path, 1)
    report = build_report(description, plan, ITERATIVE, result)
    assert report["datasets"]["mc"]["normalisation_complete"] is complete
    assert any("sum_genweight.read" in note for note in report["notes"]) is not complete


@pytest.mark.parametrize("harm", ["gone", "twice"])
def test_an_output_that_is_gone_or_written_twice_is_an_error(harm, sample, counting, tmp_path):
    plan = plan_fileset([FileEntry("mc", str(sample[0]))], chunk_size=100)
    result = execute(plan, counting(output=tmp_path), ITERATIVE)
    outputs = result.accumulator["mc"]["outputs"]
    if harm == "gone":
        (tmp_path / outputs[1]).unlink()
    else:
        outputs[1] = outputs[0]
    description = RunDescription({"name": "c", "class": "c:C"}, {}, tmp_path, 1)
    report = build_report(description, plan, ITERATIVE, result)
    assert report["exit"]["status"] == 1
    assert "1 output files" in report["notes"][0]


def test_histograms_come_back_as_they_were(run):
    report, result, output = run
    write_histograms(output / "histograms.json", result.accumulator)
    grouped = read_histograms(output / "histograms.json")
    assert set(grouped) == {"good", "mixed"}
    for dataset, content in result.accumulator.items():
        assert grouped[dataset] == content["hists"]
    restored = restore_accumulator(report, grouped)
    for dataset, content in result.accumulator.items():
        assert restored[dataset]["counters"] == content["counters"]
        assert restored[dataset]["hists"] == content["hists"]


def test_histograms_are_valid_uhi(run):
    _, result, output = run
    write_histograms(output / "histograms.json", result.accumulator)
    flat = json.loads((output / "histograms.json").read_text())
    one = Draft7Validator(json.loads(histogram_file.read_text()))
    assert set(flat) == {f"{d}/{n}" for d in ("good", "mixed") for n in ("counts", "weighted")}
    for content in flat.values():
        one.validate(content)


@pytest.mark.parametrize("kind", KINDS)
def test_the_report_of_every_executor_is_read_again(run, tmp_path, kind):
    report, *_ = run
    executor = report["executor"] | {"kind": kind}
    write_report(tmp_path / "report.json", report | {"executor": executor})
    assert read_report(tmp_path)["executor"]["kind"] == kind


def test_a_missing_or_foreign_report_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="no report at"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="not a run report"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(ConfigurationError, match="is damaged"):
        read_report(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot be read as histograms"):
        read_histograms(tmp_path / "histograms.json")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda report: report.clear(), "is not a run report"),
        (lambda report: report.pop("datasets"), "'datasets' is a required property"),
        (
            lambda report: report["datasets"]["good"].pop("chunks"),
            "datasets.good: 'chunks' is a required property",
        ),
        (lambda report: report.update(exit=None), "exit: None is not of type 'object'"),
    ],
)
def test_a_report_that_lost_a_part_is_refused_and_the_part_named(run, tmp_path, spoil, said):
    report = json.loads(json.dumps(run[0]))
    write_report(tmp_path / "report.json", report)
    assert read_report(tmp_path)["datasets"]
    spoil(report)
    write_report(tmp_path / "report.json", report)
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        read_report(tmp_path)


def test_tables_show_what_the_report_says(run):
    from rich.console import Console

    console = Console(width=200, record=True, file=io.StringIO())
    tables = [make(run[0]) for make in (dataset_table, object_table, model_table)]
    for table in (*tables, *distance_tables(run[0])):
        console.print(table)
    text = console.export_text()
    for words in ("good", "mixed", "gone", "30 of 130", "GenPart", "750", "Jet", "pt"):
        assert words in text
    assert "75.0%" in text
    lines = complaints(run[0])
    assert len(lines) == 3
    assert any("/absent.root does not exist" in line for line in lines)
    assert any(line.startswith("1 chunk failed: OSError: the disk went away") for line in lines)
