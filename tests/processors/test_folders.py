from __future__ import annotations

from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from processors.folders import dataset_folder

NAMES = st.text(st.characters(codec="utf-8"), max_size=20) | st.text("ab./=_%~ ", max_size=6)


@given(NAMES.filter(bool))
def test_the_name_comes_back_so_no_two_datasets_share_a_folder(name: str) -> None:
    assert unquote(dataset_folder(name)) == name


@given(NAMES)
def test_it_is_one_visible_folder_inside_its_parent(name: str) -> None:
    folder = dataset_folder(name)
    assert folder
    assert "/" not in folder
    assert not folder.startswith(".")


def test_names_that_the_command_line_accepts_stay_as_they_are() -> None:
    for name in ("a=b", "a_b", "TTTo2L2Nu_13TeV-powheg+pythia8", "v1.2"):
        assert dataset_folder(name) == name


def test_the_empty_name_has_a_folder_of_its_own() -> None:
    assert dataset_folder("") == "%"
    assert dataset_folder("%") != "%"
