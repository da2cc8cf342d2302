"""The categorical head: a normalised joint distribution, drawn by inverse cumulatives."""

from __future__ import annotations

import torch

from flows.categorical import CategoricalHead, CategoricalSampler, encode
from flows.spec import HeadSpec

SIZES = (2, 3, 1, 4)


def make() -> CategoricalHead:
    head = CategoricalHead(HeadSpec(sizes=SIZES, context=3, hidden=17))
    for parameter in head.parameters():
        parameter.data.add_(0.5 * torch.randn_like(parameter))
    return head


def every_code() -> torch.Tensor:
    return torch.cartesian_prod(*(torch.arange(s) for s in SIZES))


def test_probabilities_sum_to_one():
    codes = every_code()
    for context in torch.randn(5, 3):
        with torch.no_grad():
            logp = make()(encode(codes, SIZES).float(), context.expand(len(codes), 3))
        assert abs(float(logp.exp().sum()) - 1) < 1e-5


def test_codes_are_encoded_behind_other_columns():
    codes, features = every_code(), torch.randn(len(every_code()), 5)
    expected = torch.cat([features, encode(codes, SIZES).float()], 1)
    assert torch.equal(encode(codes, SIZES, behind=features), expected)


def test_draws_follow_the_probabilities():
    head, codes = make(), every_code()
    context = torch.randn(1, 3)
    rows = 100_000
    drawn = CategoricalSampler(head)(torch.rand(rows, 4), context.expand(rows, 3))
    place = (drawn * torch.tensor([12, 4, 4, 1])).sum(1)
    counts = torch.bincount(place, minlength=len(codes)).double()
    with torch.no_grad():
        p = head(encode(codes, SIZES).float(), context.expand(len(codes), 3)).double().exp()
    pull = (counts - rows * p) / (rows * p * (1 - p)).sqrt()
    assert pull[p > 1e-4].abs().max() < 5


def test_extreme_uniforms_give_declared_values():
    head = make()
    for u in (2.0**-24, 1 - 2.0**-24):
        drawn = CategoricalSampler(head)(torch.full((64, 4), u), torch.randn(64, 3))
        assert (drawn >= 0).all()
        assert (drawn < torch.tensor(SIZES)).all()


def test_encoding_is_one_hot_by_column():
    codes = torch.tensor([[1, 2, 0, 3]])
    assert encode(codes, SIZES).tolist() == [[0, 1, 0, 0, 1, 1, 0, 0, 0, 1]]
    assert encode(torch.zeros(5, 0, dtype=torch.int64), ()).shape == (5, 0)
