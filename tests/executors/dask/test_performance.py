"""What Dask itself says of a run."""

from __future__ import annotations

import io
import logging

import bokeh
import pytest
from rich.console import Console

from executors.dask.performance import recorded
from executors.execution import execute
from executors.inputs.fileset import from_inputs
from executors.plan import plan_fileset
from executors.progress import ConsoleProgress
from executors.settings import ExecutorSettings


def renders():
    """Whether this bokeh has the template that Dask's report extends."""
    return tuple(map(int, bokeh.__version__.split(".")[:2])) < (3, 9)


@pytest.mark.skipif(not renders(), reason=f"Dask cannot write it with bokeh {bokeh.__version__}")
@pytest.mark.xdist_group("dask")
def test_a_run_on_dask_leaves_its_report_and_tells_where_its_dashboard_is(
    sample, counting, scheduler, tmp_path
):
    plan = plan_fileset(from_inputs(sample), chunk_size=100)
    here, path = ExecutorSettings("dask", scheduler=scheduler), tmp_path / "dask-report.html"
    stream = io.StringIO()
    bar = ConsoleProgress(plan.events, len(plan.items), "counting", Console(file=stream))
    result = execute(plan, counting(), here, performance=path, tell=bar.say)
    assert result.error is None
    page = path.read_text()
    assert page.lstrip().startswith("<!DOCTYPE html>")
    assert "chunk" in page  # the task stream, not an empty page
    assert "Dask dashboard: http://127.0.0.1:" in stream.getvalue()


@pytest.mark.xdist_group("dask")
def test_a_report_that_cannot_be_written_is_a_warning(scheduler, tmp_path, caplog):
    import distributed

    with (
        distributed.Client(scheduler, set_as_default=False) as client,
        caplog.at_level(logging.WARNING, "executors.dask.performance"),
        recorded(client, tmp_path),  # a folder is there
    ):
        pass
    assert "cannot be written" in caplog.text


@pytest.mark.xdist_group("dask")
@pytest.mark.parametrize(("watched", "interval"), [(False, "1s"), (True, "20ms")])
def test_workers_look_at_themselves_often_only_for_a_report(watched, interval):
    import dask

    from executors.dask.cluster import open_pool

    name = "distributed.admin.tick.interval"
    with (
        dask.config.set({name: "20ms"}),
        open_pool(ExecutorSettings("dask", workers=1), watched=watched) as pool,
    ):
        assert set(pool.client.run(dask.config.get, name).values()) == {interval}
