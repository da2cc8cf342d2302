"""From a plan and its columns to a bundle with reference samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from flows.bundle import Bundle
from flows.card import Range
from flows.engine.plan import Plan
from flows.engine.validate import PlanError, check_plan
from flows.features import OneHot
from flows.flowmodel import FlowModel, flow_bundle
from flows.importers.columns import Columns
from flows.importers.source import ForeignModelError, file_digest
from flows.layout import LayoutError, ObjectLayout
from flows.reference import PREFIX, ROWS, with_reference

__all__ = ["pack", "typical_conditions"]


def pack(
    plan: Plan,
    columns: Columns,
    weights: Path,
    *,
    library: str,
    name: str | None = None,
    provenance: Mapping[str, Any] | None = None,
    **about: Any,
) -> Bundle:
    """Make the bundle of an imported flow.

    Arguments:
        plan: The flow.
        columns: What it reads and makes.
        weights: File it came from.
        library: Library that trained it.
        name: Of the model; default: the file's.
        provenance: More to remember, as plain JSON types.
        about: Further entries of the card: era, seed_system, source.
    Raises: ForeignModelError if flow and columns do not fit, or make nothing that is finite.
    """
    try:
        check_plan(plan)
        model = FlowModel(columns.layout, plan, columns.definitions)
    except (PlanError, LayoutError) as error:
        msg = f"{weights}: {error}"
        raise ForeignModelError(msg) from error
    origin = {
        "library": library,
        "weights_file": weights.name,
        "weights_sha256": file_digest(weights),
    }
    about.setdefault("source", weights.name)
    bundle = flow_bundle(
        model,
        name or weights.stem,
        columns.ranges,
        provenance=origin | dict(provenance or {}),
        **about,
    )
    complete = with_reference(bundle, typical_conditions(columns.layout, columns.ranges))
    finite = torch.isfinite(complete.tensors[f"{PREFIX}targets"]).any(0).tolist()
    broken = [name for name, some in zip(columns.layout.target_names, finite) if not some]
    if broken:
        msg = (
            f"{weights}: of {ROWS} samples not one is finite in {broken}; give the columns and the "
            f"normalisation that belong to these weights"
        )
        raise ForeignModelError(msg)
    return complete


def typical_conditions(
    layout: ObjectLayout, ranges: Mapping[str, Range], rows: int = ROWS, seed: int = 0
) -> NDArray[np.float32]:
    """Conditions ``(rows, C)`` a model may meet: within its ranges, else around its transforms.

    Example:
        >>> from flows.features import Standardise
        >>> from flows.layout import ConditionColumn
        >>> column = ConditionColumn("pt", "GeV", (Standardise(40.0, 10.0),))
        >>> rows = typical_conditions(ObjectLayout("a", "A", "G", (column,)), {}, rows=1000)
        >>> abs(float(rows.mean()) - 40) < 2
        True
    """
    rng = np.random.default_rng(seed)
    columns = []
    for column in layout.conditions:
        last = column.transforms[-1] if column.transforms else None
        if isinstance(last, OneHot):
            columns.append(rng.choice(np.array(last.values), rows))
        elif column.name in ranges:
            span = ranges[column.name]
            columns.append(rng.uniform(span.low, span.high, rows))
        else:
            normal = torch.from_numpy(rng.normal(size=rows))
            columns.append(column.chain.inverse(normal).values.numpy())
    return np.stack(columns, 1).astype(np.float32)
