"""Sentences about counters."""

from __future__ import annotations

import pytest

from executors.report.notes import notes_of


def section(counters=None, failed=0, unknown=0, weights=None, complete=True):
    return {
        "sum_genweight": {"read": weights},
        "normalisation_complete": complete,
        "counters": counters or {},
        "chunks": {"failed": failed},
        "files": {"unknown": unknown},
    }


@pytest.mark.parametrize(
    ("counter", "words"),
    [
        ("events.weight_missing", "1,200 events have no generator weight and count with weight 1"),
        ("events.run_missing", "1,200 events have no run number; 0 was taken"),
        ("events.lumi_missing", "1,200 events have no luminosity block; 0 was taken"),
        ("events.repeated", "1,200 events occur more than once"),
        ("events.without_content", "1,200 events are empty; they are not among those"),
        ("events.digested_identity", "1,200 events have no number"),
        ("events.pileup_drawn", "1,200 events have no pile-up columns"),
        ("objects.Jet.nonfinite_conditions", "1,200 rows of objects.Jet had conditions"),
        ("objects.Jet.clipped", "1,200 values were clipped"),
        ("objects.Jet.clipped.nConstituents", "(objects.Jet.clipped.nConstituents)"),
        ("objects.Jet.area.clips", "(objects.Jet.area.clips)"),
    ],
)
def test_a_counter_that_is_not_zero_is_a_sentence(counter, words):
    (note,) = notes_of({"mc": section({counter: 1_200, "objects.Jet.in": 3})}, {})
    assert note.startswith("mc: ")
    assert words in note
    assert not list(notes_of({"mc": section({counter: 0})}, {}))


def test_the_validation_knows_of_repeated_events():
    datasets = {"mc": section({"events.repeated": 2})}
    (note,) = notes_of(datasets, {"repeated_events": {"mc": 3}})
    assert "3 events occur" in note
    (note,) = notes_of({"mc": section()}, {"repeated_events": {"mc": None}})
    assert "nobody looked" in note
    assert not list(notes_of({"mc": section()}, {"repeated_events": {"mc": 0}}))
    inside = {"mc": section({"events.repeated_in_chunk": 2})}
    (note,) = notes_of(inside, {"repeated_events": {"mc": 3}})
    assert "3 events occur" in note
    (_, note) = notes_of(inside, {"repeated_events": {"mc": None}})
    assert "2 events occur more than once inside a chunk" in note


@pytest.mark.parametrize("harm", [{"failed": 1}, {"unknown": 1}])
def test_failures_spoil_the_normalisation_where_there_are_weights(harm):
    (note,) = notes_of({"mc": section(**harm, weights=12.5, complete=False)}, {})
    assert "the normalisation is incomplete" in note
    assert "not by Runs" in note
    (note,) = notes_of({"mc": section(**harm, complete=False)}, {})
    assert note == "mc: chunks or files are missing; what is here is of the others alone"


def test_weights_of_whole_files_are_not_those_of_their_parts():
    (note,) = notes_of({"mc": section(weights=12.5, complete=False)}, {})
    assert "sums of weights in Runs count whole files" in note
    assert not list(notes_of({"bars": section(complete=False)}, {}))
