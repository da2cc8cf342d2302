"""Tiny models with the right columns and random weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from flows.bundle import Bundle
from flows.card import Card, Range
from flows.layout import ObjectLayout
from flows.objectmodel import ObjectModel
from flows.spec import FlowSpec, HeadSpec, LayerSpec, MlpSpec, ObjectSpec
from processors.objects.binning import binning
from processors.objects.table import ObjectTable
from processors.objects.vocabulary import PILEUP_FIELDS

ROWS = 500
KEPT_LOGIT = 1.5
"""Bias of the efficiency: about four objects in five are kept."""


def toy_bundle(table: ObjectTable, seed: int = 0) -> Bundle:
    """A model of ``table`` whose transforms are fitted to plausible made-up columns."""
    rng = np.random.default_rng(seed)
    layout = _fitted(table, rng)
    spec = _spec(layout)
    torch.manual_seed(seed)
    model = ObjectModel(layout, spec, torch.tensor(_pileup(rng), dtype=torch.float32))
    with torch.no_grad():
        last = [m for m in model.efficiency.modules() if isinstance(m, torch.nn.Linear)][-1]
        last.bias.fill_(KEPT_LOGIT)
    card = Card(
        kind="object",
        name=f"toy-{table.name}",
        layout=layout,
        spec=spec.to_dict(),
        ranges={name: Range(-1e6, 1e6) for name in layout.condition_names},
    )
    return Bundle(card, model.to_tensors())


def _fitted(table: ObjectTable, rng: np.random.Generator) -> ObjectLayout:
    bare = table.layout()
    given = {c.name: torch.tensor(_condition(c.name, rng)) for c in bare.conditions}
    conditions = tuple(
        replace(c, transforms=c.chain.fit(given[c.name]).transforms) for c in bare.conditions
    )
    targets = []
    for column, sampled in zip(bare.targets, table.sampled, strict=True):
        values = torch.tensor(_target(table, sampled.name, given, rng))
        targets.append(replace(column, transforms=column.chain.fit(values, given).transforms))
    return replace(bare, conditions=conditions, targets=tuple(targets))


def _condition(name: str, rng: np.random.Generator) -> np.ndarray:
    if name.endswith(("_pt", "_mass")):
        return rng.exponential(30.0, ROWS) + 5.0
    if name.startswith("Pileup_"):
        return rng.uniform(0.5, 60.0, ROWS)
    return rng.normal(0.0, 1.0, ROWS)


def _target(
    table: ObjectTable, name: str, given: dict[str, torch.Tensor], rng: np.random.Generator
) -> np.ndarray:
    if name == "pt":
        gen = given["GenMuon_pt" if table.name == "muon" else "GenJet_pt"].numpy()
        return table.threshold + gen * rng.uniform(0.7, 1.3, ROWS)
    if name in ("eta", "phi"):
        return rng.normal(0.0, 0.02, ROWS)
    if name in ("mass", "ptErr"):
        return rng.uniform(0.5, 1.5, ROWS)
    bins = binning(table.collection, name)
    if bins.geometric:
        return np.exp(rng.uniform(np.log(bins.low), np.log(bins.high), ROWS))
    return rng.uniform(bins.low, bins.high, ROWS)


def _pileup(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(10, 60, (200, len(PILEUP_FIELDS))).astype(np.float32)


def _spec(layout: ObjectLayout) -> ObjectSpec:
    width = sum(c.chain.width for c in layout.conditions)
    sizes = tuple(len(c.values) for c in layout.discrete)
    return ObjectSpec(
        efficiency=MlpSpec(width, hidden=(8,)),
        categories=HeadSpec(sizes, width, hidden=8),
        flow=FlowSpec(
            len(layout.targets),
            width + sum(sizes),
            layers=(LayerSpec("affine", "same"), LayerSpec("spline", "reverse")),
            hidden=16,
            bins=4,
            embedding=(8,),
        ),
    )
