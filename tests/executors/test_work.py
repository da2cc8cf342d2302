"""A processor on one chunk, beside what coffea's own Runner makes of it."""

from __future__ import annotations

import pytest
from coffea.nanoevents import BaseSchema, NanoAODSchema
from coffea.processor import IterativeExecutor, Runner

from executors.inputs.fileset import FileEntry
from executors.plan import plan_fileset
from executors.work import ChunkWork


@pytest.fixture
def plan(sample):
    entries = [FileEntry("mc", str(path), metadata={"era": "2018"}) for path in sample]
    return plan_fileset(entries, chunk_size=100)


def looked_at(events):
    """What a processor may see of a chunk."""
    metadata = {key: str(value) for key, value in events.metadata.items()}
    numbers = events.event if "event" in events.fields else events.run
    return {f"{metadata['filename']} {metadata['entrystart']}": [(metadata, numbers.to_list())]}


@pytest.mark.filterwarnings("ignore:Missing cross-reference:RuntimeWarning")
@pytest.mark.parametrize("schema", [BaseSchema, NanoAODSchema])
def test_a_processor_sees_what_coffea_would_show_it(plan, schema):
    runner = Runner(IterativeExecutor(status=False), schema=schema)
    theirs = runner.run(list(plan.items), looked_at)["out"]
    work = ChunkWork(looked_at, schema)
    ours = {}
    for item in plan.items:
        ours |= work(item)
    work.end()
    assert ours == theirs
    assert len(ours) == len(plan.items) == 5


def test_an_attribute_of_the_processor_names_schema_and_format(load):
    assert ChunkWork.of(load("Tabular")()).kind == "parquet"
    assert ChunkWork.of(load("Counting")()).schema is BaseSchema
    assert ChunkWork.of(load("Physicist")()).schema is NanoAODSchema
