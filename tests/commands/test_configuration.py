"""Options and the configuration file of a run."""

from __future__ import annotations

import pytest

from commands.configuration import SHARED, processor_options, settle
from commands.run_options import parse
from processors.config import FlowConfig


@pytest.fixture
def settled(tmp_path):
    """Function that settles a command line with a configuration file."""

    def settle_with(file, *arguments):
        path = tmp_path / "config.yaml"
        path.write_text(file)
        return settle(parse(["p", "a.root", "--config", str(path), "--dry-run", *arguments]))

    return settle_with


FILE = FlowConfig(
    output="/out", bundles=("/a",), bundle_digests=("1",), device="cpu", seed=9, format="none",
    oversample=4,
).to_yaml()  # fmt: skip


def test_every_shared_key_may_stand_in_the_file(settled):
    options, further = settled(FILE + "block_events: 5\n")
    assert further == {"block_events": 5}
    made = processor_options(options, further)
    assert FlowConfig.from_mapping(
        {key: made[key] for key in SHARED if key not in ("output", "bundles")}
        | {"output": str(made["output"]), "bundles": [str(path) for path in made["bundles"]]}
    ) == FlowConfig.from_yaml(FILE)
    assert set(SHARED) == set(FlowConfig.model_fields)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("output", "/other", "/other"),
        ("bundle", "/b", ["/b"]),
        ("bundle_digest", "2", ["2"]),
        ("device", "auto", "auto"),
        ("seed", "1", 1),
        ("format", "root", "root"),
        ("oversample", "1", 1),
    ],
)
def test_the_command_line_overrides_the_file(settled, option, value, expected):
    options, _ = settled(FILE, f"--{option.replace('_', '-')}", value)
    assert getattr(options, option) == expected


def test_a_bundle_of_the_command_line_drops_the_digests_of_the_file(settled):
    assert settled(FILE, "--bundle", "/b")[0].bundle_digest == []
    assert settled(FILE, "--bundle", "/b", "--bundle-digest", "2")[0].bundle_digest == ["2"]


def test_without_a_file_the_defaults_of_every_processor_hold():
    options, further = settle(parse(["p", "a.root", "--dry-run"]))
    assert further == {}
    assert (options.seed, options.format, options.oversample) == (1, "root", 1)
    assert (options.device, options.bundle, options.output) == ("auto", [], None)


@pytest.mark.parametrize(
    "line", ["seed: many", "seed: -1", "oversample: 0", "format: csv", "device: tpu", "bundles: 3"]
)
def test_a_value_that_is_wrong_is_named(settled, line):
    with pytest.raises(ValueError, match=line.partition(":")[0]):
        settled(line)
