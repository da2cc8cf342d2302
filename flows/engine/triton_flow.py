"""A plan on CUDA through triton: the plain version with its slow parts replaced."""

from __future__ import annotations

import torch
from torch import Tensor

from flows.engine.plan import Affine, Coupling, Plan, Spline
from flows.engine.torch_flow import TorchFlow
from flows.engine.triton_coupling import TritonCoupling
from flows.engine.triton_masked import MaskedInverse
from flows.engine.triton_spline import spline_constants, spline_of_columns

__all__ = ["TritonFlow"]


class TritonFlow(TorchFlow):
    """A flow whose autoregressive inverses are one kernel per step, whose splines are fused.

    Matrix products follow ``torch.backends.cuda.matmul.allow_tf32``. Nothing waits for the device.
    """

    way = "triton"

    def __init__(self, plan: Plan, dtype: torch.dtype, device: str | torch.device) -> None:
        super().__init__(plan, dtype, device)
        self._inverses: dict[int, MaskedInverse] = {}
        self._couplings: dict[int, TritonCoupling] = {}
        self._constants: dict[int, Tensor] = {}

    def splined(self, step: Spline, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`TorchFlow.splined`."""
        result = x.contiguous().clone()
        every = self.index(range(x.shape[1]))
        if id(step) not in self._constants:
            numbers = torch.tensor(spline_constants(step), dtype=self.dtype, device=self.device)
            self._constants[id(step)] = numbers
        constants = self._constants[id(step)]
        slopes = spline_of_columns(result, raw.contiguous(), every, constants, step, inverse=False)
        return result, slopes

    def couple(
        self, step: Coupling, x: Tensor, given: Tensor | None, *, inverse: bool
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`TorchFlow.couple`."""
        if id(step) not in self._couplings:
            self._couplings[id(step)] = TritonCoupling(step, self.dtype, self.device)
        result = x.contiguous().clone()
        slopes = self._couplings[id(step)](result, given, inverse=inverse)
        return result, slopes.sum(1)

    def invert(self, step: Affine | Spline, z: Tensor, given: Tensor | None) -> Tensor:
        """See :meth:`TorchFlow.invert`."""
        if id(step) not in self._inverses:
            features = self.plan.features
            self._inverses[id(step)] = MaskedInverse(step, features, self.dtype, self.device)
        rough = self.dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32
        precision = "tf32" if rough else "ieee"
        return self._inverses[id(step)](z, given, precision)
