"""Calibration of the efficiency."""

from __future__ import annotations

import torch

from flows.efficiency import Efficiency
from flows.spec import MlpSpec


def test_calibration_recovers_slope_and_offset():
    net = Efficiency(MlpSpec(1))
    score = 2 * torch.randn(200_000)
    label = (torch.rand(200_000) < torch.sigmoid(0.6 * score - 0.4)).float()
    net.calibrate(score, label)
    assert torch.allclose(net.calibration, torch.tensor([0.6, -0.4]), atol=0.03)


def test_calibrated_mean_is_the_observed_share():
    net = Efficiency(MlpSpec(2, (8,)))
    context = torch.randn(5000, 2)
    label = (torch.rand(5000) < 0.13).float()
    with torch.no_grad():
        net.calibrate(net.logit(context), label)
        probability = net(context)
    assert abs(float(probability.mean() - label.mean())) < 0.01
    assert ((probability > 0) & (probability < 1)).all()


def test_scores_that_are_right_already_stay_as_they_are():
    net = Efficiency(MlpSpec(1))
    score = torch.randn(500)
    net.calibrate(score, (torch.rand(500) < torch.sigmoid(score)).float())
    assert net.calibration.tolist() == [1.0, 0.0]


def test_labels_of_one_class_leave_the_score_alone():
    net = Efficiency(MlpSpec(1))
    net.calibrate(torch.randn(100), torch.ones(100))
    assert net.calibration.tolist() == [1.0, 0.0]
    net.calibrate(torch.zeros(0), torch.zeros(0))
    assert net.calibration.tolist() == [1.0, 0.0]
