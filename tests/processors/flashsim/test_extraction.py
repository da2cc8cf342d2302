from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.tables import check_table
from processors.errors import MissingBranchError
from processors.flashsim.extraction import Extraction, load_tables
from processors.objects.registry import TABLES


def extract(folder: Path) -> Extraction:
    return Extraction.from_options({"output": folder, "seed": 2, "config": {}})


@pytest.fixture(scope="module")
def extracted(
    run: Callable, nano: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    return run(extract(tmp_path_factory.mktemp("tables")), nano, chunksize=40)


@pytest.mark.parametrize("name", list(TABLES))
def test_tables_fit_the_layout_and_account_for_every_object(
    extracted: dict[str, Any], name: str
) -> None:
    table = TABLES[name]
    loaded = load_tables(extracted["outputs"], table)
    check_table(loaded, table.layout())
    counters, prefix = extracted["counters"], f"objects.{table.collection}"
    assert len(loaded.reconstructed) == counters[f"{prefix}.in"]
    assert len(loaded.targets) == loaded.reconstructed.sum() == counters[f"{prefix}.out"]
    left_out = sum(
        counters[f"{prefix}.{why}"] for why in ("duplicates", "dangling_index", "unmatched")
    )
    assert counters[f"{prefix}.reco"] == len(loaded.targets) + left_out
    assert len(loaded.pileup) == counters["events.read"] == 150


@pytest.mark.parametrize("name", list(TABLES))
def test_tables_do_not_depend_on_the_chunk_size(
    run: Callable, nano: Path, tmp_path: Path, extracted: dict[str, Any], name: str
) -> None:
    whole = run(extract(tmp_path / "whole"), nano)
    one, two = (load_tables(r["outputs"], TABLES[name]) for r in (whole, extracted))
    for field, first, second in zip(one._fields, one, two, strict=True):
        if field != "pileup":
            assert set(map(bytes, first)) == set(map(bytes, second)), field


def test_targets_are_those_of_the_partner(
    extracted: dict[str, Any], open_events: Callable, nano: Path
) -> None:
    table = TABLES["jet"]
    loaded = load_tables(extracted["outputs"], table)
    pt = [c.name for c in table.sampled].index("pt")
    gen_pt = [c.name for c in table.conditions].index("GenJet_pt")
    stored = np.maximum(loaded.conditions[loaded.reconstructed, gen_pt], 16.0)
    # one step of ten bits of mantissa
    np.testing.assert_allclose(loaded.targets[:, pt], stored, rtol=2.0**-10)


def test_a_file_without_a_training_column_is_refused(
    open_events: Callable, nanogen: Path, tmp_path: Path
) -> None:
    with pytest.raises(MissingBranchError, match=r"Muon_pt.*gen\.root.*trained on them"):
        extract(tmp_path).process(open_events(nanogen))


def test_tables_of_other_columns_are_refused(extracted: dict[str, Any]) -> None:
    muons = [p for p in extracted["outputs"] if "muon_" in p]
    with pytest.raises(ValueError, match="none of the tables holds jet"):
        load_tables(muons, TABLES["jet"])


def test_tables_of_two_runs_side_by_side_are_refused(
    run: Callable, nano: Path, tmp_path: Path
) -> None:
    outputs = {
        path
        for chunksize in (150, 50)
        for path in run(extract(tmp_path), nano, chunksize=chunksize)["outputs"]
    }
    with pytest.raises(ValueError, match=r"same entries of one input.*Remove those"):
        load_tables(outputs, TABLES["jet"])


def test_real_files_give_tables(run: Callable, real_data: Path, tmp_path: Path) -> None:
    """UL17 simulation has every jet column of NanoAOD v9; its muons lack isStandalone."""
    path = real_data / "nano" / "hggnano_DY_UL17_100.root"
    options = {"output": tmp_path, "config": {"objects": ("jet",)}}
    result = run(Extraction.from_options(options), path)
    table = TABLES["jet"]
    check_table(load_tables(result["outputs"], table), table.layout())
    assert result["counters"]["objects.Jet.out"] == 249
