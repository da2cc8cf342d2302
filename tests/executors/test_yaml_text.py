"""YAML without its surprises."""

from __future__ import annotations

import pytest
import yaml

from executors.yaml_text import load_yaml


def test_ordinary_documents_are_what_yaml_says():
    text = "base: &base {a: 1, b: 0x1f, c: 1.5e+3, d: .inf}\nnext: {<<: *base, a: [yes, null]}\n"
    assert load_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["25:00", "1:30:00", "1:30.5"])
def test_numbers_of_base_60_stay_text(text):
    assert load_yaml(f"a: {text}") == {"a": text}


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "x: {a: 1, 'a': 2}"])
def test_a_key_given_twice_is_refused(text):
    with pytest.raises(yaml.YAMLError, match="key 'a' appears twice; keep one"):
        load_yaml(text)


def test_nothing_is_executed():
    with pytest.raises(yaml.YAMLError):
        load_yaml("a: !!python/object/apply:os.getcwd []")
