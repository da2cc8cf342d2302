"""What computes where, with and without triton."""

from __future__ import annotations

import subprocess
import sys

import torch

from flows.engine.compile_nflows import compile_transform
from flows.engine.device_flow import device_flow
from flows.engine.testing import random_transform
from flows.engine.torch_flow import TorchFlow

PLAN = compile_transform(random_transform("spline", 3, 2, steps=1, hidden=8), 3, 2)


def test_devices_without_kernels_run_plain_torch():
    for device in ("cpu", "meta"):
        flow = device_flow(PLAN, torch.float32, device)
        assert type(flow) is TorchFlow
        assert (flow.way, flow.device.type) == ("torch", device)


def test_on_the_processor_triton_is_never_imported():
    """It would cost every worker its import, which serves none there."""
    code = """
import sys, numpy as np, torch
from flows.engine import compile_flow
from flows.architectures import ConditionalFlow
from flows.noise import Identity, normals
from flows.spec import FlowSpec
engine = compile_flow(ConditionalFlow(FlowSpec(features=2, context=1, hidden=8)), threads=1)
engine.sample(2, torch.zeros(3, 1))
zero = np.zeros(1, np.int64)
normals(Identity(1, "a", "b", *[zero] * 5), "flow", 2)
print("triton" in sys.modules, engine.stats.ways)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False {'cpu': 'compiled'}", done.stderr
