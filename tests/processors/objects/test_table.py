from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from flows.card import Card
from processors.errors import ConfigurationError
from processors.objects.binning import BINNINGS
from processors.objects.registry import TABLES, check_layout
from processors.objects.relations import Absolute, Difference, Excess, Ratio, Share
from processors.objects.table import Categorical, Derived, ObjectTable, Sampled

COUNTS = {"muon": (49, 38), "jet": (39, 26)}
WRITTEN_BESIDES = {
    "muon": {"mass", "pdgId", "jetIdx", "genPartIdx", "genPartFlav"},
    "jet": {"genJetIdx", "muonIdx1", "muonIdx2", "electronIdx1", "electronIdx2"},
}
FRACTIONS = ("chEmEF", "muEF", "neEmEF", "neHEF")
TABLE_LIST = list(TABLES.values())


@pytest.mark.parametrize("table", TABLE_LIST, ids=list(TABLES))
def test_every_column_is_one_kind_and_every_branch_is_made(table: ObjectTable) -> None:
    names = Counter(column.name for column in table.columns)
    assert (len(table.columns), len(table.conditions)) == COUNTS[table.name]
    assert max(names.values()) == 1
    assert all(isinstance(c, Sampled | Categorical | Derived) for c in table.columns)
    stored = {branch.name for branch in table.branches}
    assert set(names) == stored - WRITTEN_BESIDES[table.name]
    derived = {c.name for c in table.columns if isinstance(c, Derived)}
    assert derived == set(table.functions)


@pytest.mark.parametrize("table", TABLE_LIST, ids=list(TABLES))
def test_every_column_has_bins(table: ObjectTable) -> None:
    assert {c.name for c in table.columns} <= set(BINNINGS[table.collection])


def objects(table: ObjectTable, n: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Generator quantities with stored columns, spikes and bounds included."""
    rng = np.random.default_rng(3)
    gen = {
        "pt": rng.uniform(20, 100, n).astype("f4"),
        "eta": rng.normal(0, 1.5, n).astype("f4"),
        "phi": rng.uniform(-3.14, 3.14, n).astype("f4"),
        "mass": rng.uniform(0.2, 20, n).astype("f4"),
        "charge": rng.choice([-1, 1], n),
        "hadronFlavour": rng.choice([0, 4, 5], n),
        "partonFlavour": rng.choice([1, 21, -5], n),
    }
    uniform = rng.uniform(0.02, 0.22, (n, len(table.sampled))).astype("f4")
    targets = uniform.copy()
    for i, column in enumerate(table.sampled):
        if column.name == "pt":
            targets[:, i] = gen["pt"] * (0.9 + uniform[:, i])
        if column.name == "nConstituents":
            targets[:, i] = rng.integers(1, 60, n)
        for spike in column.spikes:
            targets[rng.random(n) < 0.2, i] = spike
        if column.bounds[1] == 1.0 and not column.spikes:
            targets[rng.random(n) < 0.2, i] = 1.0
    categories = np.stack([rng.choice(c.values, n) for c in table.categorical], axis=1)
    return gen, table.decode(targets, categories, gen).columns


@pytest.mark.parametrize("table", TABLE_LIST, ids=list(TABLES))
@pytest.mark.parametrize("place", [0.01, 0.5, 0.99])
def test_decode_undoes_encode(table: ObjectTable, place: float) -> None:
    """Wherever inside its step of stored precision a value is taken to be."""
    gen, stored = objects(table, 400)
    rows = table.encode(stored, gen, np.full((400, len(table.sampled)), place, np.float32))
    again = table.decode(rows.targets, rows.categories, gen).columns
    assert rows.unknown == 0
    for name, values in stored.items():
        different = again[name] != values
        if name == "jetId":
            continue  # cuts on neHEF, which is one step uncertain
        if np.issubdtype(values.dtype, np.floating):
            # differences to the generator are rounded in float32 before they are stored
            # shares of a rest that is smaller than one stored step are not told from zero
            atol = 2.0**-6 if name in FRACTIONS else 2e-4
            different &= ~np.isclose(again[name], values, rtol=2e-3, atol=atol)
        assert not different.any(), name


@pytest.mark.parametrize("table", TABLE_LIST, ids=list(TABLES))
def test_spikes_stay_exact_whatever_the_displacement(table: ObjectTable) -> None:
    gen, stored = objects(table, 400)
    low, high = (
        table.encode(stored, gen, np.full((400, len(table.sampled)), u, np.float32)).targets
        for u in (0.001, 0.999)
    )
    for i, column in enumerate(table.sampled):
        for spike in column.spikes:
            at = low[:, i] == np.float32(spike)
            assert np.array_equal(at, high[:, i] == np.float32(spike)), column.name


def test_energy_fractions_never_exceed_one() -> None:
    table = TABLES["jet"]
    rng = np.random.default_rng(4)
    gen, _ = objects(table, 500)
    targets = rng.uniform(0, 1, (500, len(table.sampled))).astype("f4")
    categories = np.zeros((500, len(table.categorical)), np.int64)
    made = table.decode(targets, categories, gen).columns
    total = sum(made[n] for n in ("chHEF", "neHEF", "chEmEF", "neEmEF", "muEF"))
    # five roundings to six bits of mantissa
    np.testing.assert_allclose(total, 1.0, atol=5 * 2.0**-7)


def test_unlisted_category_values_are_moved_and_counted() -> None:
    table = TABLES["jet"]
    gen, stored = objects(table, 10)
    stored["nMuons"] = np.full(10, 40)
    places = np.full((10, len(table.sampled)), 0.5, np.float32)
    rows = table.encode(stored, gen, places)
    column = [c.name for c in table.categorical].index("nMuons")
    assert rows.unknown == 10
    assert (rows.categories[:, column] == max(table.categorical[column].values)).all()


def test_a_bundle_of_other_columns_is_refused() -> None:
    layout = TABLES["jet"].layout()
    short = Card("object", "x", type(layout)(**{**vars(layout), "targets": layout.targets[1:]}), {})
    with pytest.raises(ConfigurationError, match=r"does not fit the jet table.*'pt'"):
        check_layout(short, "some/path")
    other = Card("object", "x", type(layout)(**{**vars(layout), "object": "tau"}), {})
    with pytest.raises(ConfigurationError, match="simulates 'tau'"):
        check_layout(other, "some/path")


@pytest.mark.parametrize(
    ("name", "column", "value", "each"),
    [
        ("muon", "pfRelIso03_all", -0.1, 1),  # Excess: total below its charged part
        ("jet", "nConstituents", 1e4, 1),  # beyond uint8
        ("jet", "chHEF", 1.5, 4),  # less than nothing left for three shares and neHEF
        ("jet", "chHEF", 1.0, 0),  # nothing left: exact zeros, not clips
    ],
)
def test_whatever_decoding_clips_is_counted(
    name: str, column: str, value: float, each: int
) -> None:
    table = TABLES[name]
    gen, _ = objects(table, 10)
    targets = np.full((10, len(table.sampled)), 0.1, np.float32)
    categories = np.zeros((10, len(table.categorical)), np.int64)
    place = [c.name for c in table.sampled].index(column)
    assert table.decode(targets, categories, gen).clipped == 0
    targets[:3, place] = value
    assert table.decode(targets, categories, gen).clipped == 3 * each


def test_a_generator_quantity_below_the_floor_of_a_ratio_is_counted() -> None:
    table = TABLES["jet"]
    gen, _ = objects(table, 10)
    gen["mass"][:4] = 0.05
    targets = np.full((10, len(table.sampled)), 0.1, np.float32)
    categories = np.zeros((10, len(table.categorical)), np.int64)
    assert table.decode(targets, categories, gen).clipped == 4


@pytest.mark.parametrize(
    "relation", [Ratio("pt", 1.0), Excess("chg"), Share(("chg",)), Difference("pt"), Absolute()]
)
def test_what_a_relation_cuts_is_what_does_not_return(relation):
    draw = np.random.default_rng(3)
    value, chg, pt = draw.uniform([[-0.2], [0.0], [0.5]], [[1.5], [1.2], [3.0]], (3, 500))
    value, chg = value.astype(np.float32), chg.astype(np.float32)
    gen, reco = {"pt": pt.astype(np.float32)}, {"chg": chg}
    target = relation.target(value, reco, gen)
    # a ratio to a floored quantity returns too, but is no longer the ratio
    moved = (
        gen["pt"] < 1.0
        if isinstance(relation, Ratio)
        else np.abs(relation.value(target, reco, gen) - value) > 1e-6
    )
    assert relation.cut(value, reco, gen) == np.count_nonzero(moved)
