"""A flow between its columns, run where its tensors are."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from flows.columns import ArrayColumns
from flows.engine.cpu_flow import CpuFlow
from flows.engine.device_flow import device_flow
from flows.flowmodel import FlowModel

__all__ = ["Here", "There", "flow_runner"]


class Here:
    """A flow with its columns on the processor, compiled."""

    way = "compiled"

    def __init__(self, model: FlowModel) -> None:
        self._flow = CpuFlow(model.plan, np.float32)
        self._columns = ArrayColumns(model.layout)

    def decode(self, conditions: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Targets float32 ``(n, T)``, and which rows left an image."""
        context = self._columns.features(conditions).numpy()
        latent = torch.from_numpy(self._flow.inverse(noise.numpy(), context))
        none = torch.zeros(len(latent), 0, dtype=torch.int64)
        drawn = self._columns.to_physics(latent, conditions, none)
        return drawn.targets, drawn.outside

    def encode(self, conditions: Tensor, latent: Tensor) -> Tensor:
        """Noise float32 ``(n, T)``."""
        context = self._columns.features(conditions).numpy()
        return torch.from_numpy(self._flow.forward(latent.numpy(), context)[0])


class There:
    """The same with tensors of a device."""

    def __init__(self, model: FlowModel, device: str) -> None:
        self._model = model
        self._flow = device_flow(model.plan, torch.float32, device)
        self.way = self._flow.way

    def decode(self, conditions: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Here.decode`."""
        latent = self._flow.inverse(noise, self._model.context(conditions))
        values, left = self._model.physical(latent, conditions)
        return values.to(torch.float32), left

    def encode(self, conditions: Tensor, latent: Tensor) -> Tensor:
        """See :meth:`Here.encode`."""
        return self._flow.forward(latent, self._model.context(conditions))[0]


def flow_runner(model: FlowModel, device: str) -> Here | There:
    """Return the fastest way to run a model on a device."""
    return Here(model) if torch.device(device).type == "cpu" else There(model, device)
