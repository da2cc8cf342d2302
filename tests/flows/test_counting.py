"""Numbers with a learnt mean."""

from __future__ import annotations

import pytest
import torch

from flows.counting import PoissonMean
from flows.optimise import Recipe, optimise
from flows.spec import MlpSpec


def test_the_mean_is_proportional_to_the_exposure_and_learns_the_context():
    torch.manual_seed(1)
    net = PoissonMean(MlpSpec(2, (32,)))
    context = torch.rand(8000, 2) * 2 - 1
    exposure = 0.5 + torch.rand(8000)
    truth = 20 * torch.exp(context[:, 0] - 0.5 * context[:, 1])
    number = torch.poisson(exposure * truth)
    net.start(number, exposure)

    def loss(rows):
        return net.loss(context[rows], exposure[rows], number[rows])

    rows = torch.arange(8000)
    history = optimise(
        net, loss, rows[1000:], rows[:1000], Recipe(epochs=15, batch=256), stage="n", seed=1
    )
    # half a deviance per row: 1/2 + O(1/mean); its own fluctuation is 0.7/sqrt(1000)
    assert history.best == pytest.approx(0.5, abs=0.1)
    found = net.per_exposure(context).detach()
    # 7,000 rows of 20: a constant would be right to 0.3 %; 32 units are to some percent
    assert ((found / truth).log().abs()).mean() < 0.03


def test_it_starts_at_the_mean_of_all():
    net = PoissonMean(MlpSpec(3, (8,)))
    net.start(torch.tensor([10.0, 0.0, 20.0]), torch.tensor([1.0, 1.0, 3.0]))
    assert net.per_exposure(torch.randn(5, 3)).tolist() == pytest.approx([6.0] * 5)


def test_rows_without_samples_have_a_finite_loss():
    net = PoissonMean(MlpSpec(1, (4,)))
    loss = net.loss(torch.zeros(2, 1), torch.ones(2), torch.tensor([0.0, 3.0]))
    assert torch.isfinite(loss).all()
    assert (loss >= 0).all()
