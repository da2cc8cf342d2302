"""What the README shows runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from executors.results.histograms import read_histograms
from processors.flashsim.processor import FlashSim

README = Path(__file__).parents[2] / "README.md"
TEXT = README.read_text().partition("## Run it on your own files")[2].partition("## ")[0]


@pytest.fixture
def example(tmp_path):
    """The processor of the README as a file."""
    (block,) = re.findall(r"```python\n(# mine.py\n.*?)```", README.read_text(), flags=re.DOTALL)
    path = tmp_path / "mine.py"
    path.write_text(block)
    return path


def test_the_processor_of_the_readme_counts_leading_jets(flashbrew, example, tmp_path):
    output = tmp_path / "out"
    status, _, _ = flashbrew(
        f"{example}:LeadingJet", FlashSim.default_inputs()[0], "--output", output
    )
    assert status == 0
    assert read_histograms(output / "histograms.json")


def test_it_runs_where_some_events_have_no_jet(flashbrew, example, tmp_path, real_data):
    path = real_data / "nano" / "nano_dy_40.root"
    status, _, _ = flashbrew(f"{example}:LeadingJet", path, "--output", tmp_path / "out")
    assert status == 0


def test_the_three_commands_plan_the_same_chunks(flashbrew, tmp_path, monkeypatch):
    """Laptop, HTCondor, coffea-casa, as they stand there; nothing is submitted."""
    files = {str(FlashSim.default_inputs()[0]): "Events"}
    (tmp_path / "fileset.json").write_text(json.dumps({"ttbar": {"files": files}}))
    (site,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
    (tmp_path / "site.yaml").write_text(site)
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^flashbrew (flashsim .*)$", TEXT, re.M)
    kinds = ["futures", "htcondor", "casa"]
    assert len(commands) == len(kinds)
    plans = set()
    for command, kind in zip(commands, kinds):
        status, out, err = flashbrew(*command.split(), "--dry-run")
        assert status == 0, err
        planned = re.search(r"2,000 events in .*?; (\w+),.*fileset (\w+)", out, re.S)
        assert planned[1] == kind
        plans.add(planned[2])
    assert len(plans) == 1


def test_every_option_of_the_readme_exists(flashbrew):
    _, out, _ = flashbrew("flashsim", "--help")
    named = re.findall(r"`(--[a-z-]+)", README.read_text())
    assert len(set(named)) > 10
    train = flashbrew("train", "--help")[1]
    assert [option for option in set(named) if option not in out + train] == []
