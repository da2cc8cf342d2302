"""Processors by name."""

from __future__ import annotations

import pickle
from pathlib import Path

import cloudpickle
import pytest

from executors.errors import ConfigurationError
from executors.loading import load_class

COUNTING = Path(__file__).with_name("counting.py")


def test_a_built_in_name_is_looked_up():
    builtin = {"plain": f"{COUNTING}:Physicist"}
    assert load_class("plain", builtin).__name__ == "Physicist"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flashsimm", "built-in: flashsim; your own: module:Class or path.py:Class"),
        ("no.such.module:X", "'no.such.module' cannot be imported: ModuleNotFoundError"),
        ("executors.plan:Plan", "holds no coffea ProcessorABC called 'Plan'"),
        ("/absent/x.py:X", "processor file /absent/x.py does not exist"),
        (f"{COUNTING}:Nobody", "has no class 'Nobody'; processors there: Counting, "),
        (f"{COUNTING}:NotAProcessor", "holds no coffea ProcessorABC called 'NotAProcessor'"),
    ],
)
def test_a_name_that_leads_nowhere_is_explained(name, message):
    with pytest.raises(ConfigurationError) as caught:
        load_class(name, {"flashsim": "processors.flashsim.processor:FlashSim"})
    assert message in str(caught.value)


def test_a_broken_file_is_one_sentence(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("import nothing_like_this\n")
    with pytest.raises(ConfigurationError, match=r"broken.py cannot be imported: ModuleNotFound"):
        load_class(f"{path}:X", {})


def test_a_users_class_travels_by_value():
    kind = load_class(f"{COUNTING}:Counting", {})
    payload = cloudpickle.dumps(kind(fail_at=3))
    assert kind.__module__ in cloudpickle.list_registry_pickle_by_value()
    assert b"misbehave" in payload  # the code itself, not only the name of the class
    assert type(pickle.loads(payload)).__name__ == "Counting"
