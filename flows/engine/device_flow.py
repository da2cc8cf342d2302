"""The way to run a plan with torch tensors on a device: triton where it works, else plain torch."""

from __future__ import annotations

import torch

from flows.engine.plan import Plan
from flows.engine.torch_flow import TorchFlow

__all__ = ["device_flow"]


def device_flow(plan: Plan, dtype: torch.dtype, device: str | torch.device) -> TorchFlow:
    """Return the fastest flow of a plan for a device; on ``cpu`` triton is never imported."""
    place = torch.device(device)
    if place.type == "cpu":
        return TorchFlow(plan, dtype, place)
    from flows.engine.triton_flow import TritonFlow
    from flows.gpu import kernels_for

    return (TritonFlow if kernels_for(place) else TorchFlow)(plan, dtype, place)
