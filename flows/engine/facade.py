"""The way to use a compiled flow: tensors in, tensors out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flows.batching import default_threads
from flows.engine.cpu_flow import CpuFlow
from flows.engine.device_flow import device_flow
from flows.engine.plan import Parametrisation, Plan
from flows.engine.repeated_flow import RepeatedFlow
from flows.engine.torch_flow import TorchFlow
from flows.noise import Identity

__all__ = ["Engine", "EngineStats", "compile_flow"]

CHUNK = 512
"""Rows of one piece of work: a step's weights are read once for all of them."""
DEVICE_CHUNK = 65_536
"""Rows that a device computes at once: memory for what happens between is bounded."""


class EngineStats(NamedTuple):
    """What an engine has done so far.

    Attributes:
        rows: Rows in.
        nonfinite_context: Rows whose context was not finite; all they gave is NaN.
        ways: What computed, by device: ``compiled``, ``triton`` or ``torch``.
    """

    rows: int
    nonfinite_context: int
    ways: dict[str, str]


class Engine:
    """A trained flow, ready to sample.

    Tensors on the processor are computed by compiled code on the engine's own threads, others where
    they are, by kernels of triton if it is installed, else in plain torch. Compiled results are the
    same bit for bit for any number of threads and any split into calls. Calls from several threads
    are safe.

    Arguments:
        plan: What to compute.
        threads: Threads of the compiled part; default: ``$FLASHBREW_THREADS``, else all cores.
    Shapes: x, z ``(n, D)``, context ``(n, C)``, or ``None`` for a flow without; float32 or float64.
    Raises: ValueError for other shapes or types.

    Example:
        >>> from flows.architectures import ConditionalFlow
        >>> from flows.spec import FlowSpec
        >>> engine = compile_flow(ConditionalFlow(FlowSpec(features=3, context=2, hidden=16)))
        >>> z, c = torch.randn(5, 3), torch.randn(5, 2)
        >>> x = engine.inverse(z, c)
        >>> torch.allclose(engine.forward(x, c)[0], z, atol=1e-3)
        True
        >>> engine.sample(4, c, seed=1).shape
        torch.Size([5, 4, 3])
    """

    def __init__(self, plan: Plan, threads: int | None = None) -> None:
        self.plan = plan
        self.threads = default_threads() if threads is None else threads
        if self.threads < 1:
            msg = f"an engine needs at least one thread, not {self.threads}"
            raise ValueError(msg)
        self._lock = threading.RLock()
        self._compiled: dict[torch.dtype, CpuFlow] = {}
        self._plain: dict[tuple[torch.dtype, torch.device], TorchFlow] = {}
        self._shared: RepeatedFlow | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._process = -1
        self._rows = 0
        self._nonfinite: dict[torch.device, Tensor] = {}
        self._ways: dict[str, str] = {}

    @property
    def stats(self) -> EngineStats:
        """What was done so far."""
        with self._lock:
            bad = sum(int(count) for count in self._nonfinite.values())
            return EngineStats(self._rows, bad, dict(self._ways))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Map noise to data."""
        given, bad = self._checked(z, context)
        if z.device.type != "cpu":
            plain = self._torch(z)
            return _spoiled(torch.cat([plain.inverse(*p) for p in _pieces(z, given)]), bad)
        noise, conditions = _arrays(z, given)
        x = np.empty_like(noise)
        flow = self._cpu(z.dtype)

        def fill(rows: slice) -> None:
            x[rows] = flow.inverse(noise[rows], conditions[rows])

        self._in_pieces(fill, len(x))
        return _spoiled(torch.from_numpy(x), bad)

    @property
    def repeated(self) -> RepeatedFlow:
        """The way to draw many samples per context; of flows of one feature alone."""
        with self._lock:
            if self._shared is None:
                self._shared = RepeatedFlow(self.plan, self._threads)
            return self._shared

    def sample_repeated(
        self, context: Tensor, counts: Tensor, identity: Identity, purpose: str = "flow"
    ) -> Tensor:
        """Draw ``counts[i]`` samples of context i: :meth:`RepeatedFlow.sample`."""
        return self.repeated.sample(context, counts, identity, purpose)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data to noise; also ln \\|det ∂z/∂x\\| ``(n,)``."""
        given, bad = self._checked(x, context)
        z, ladj = self._forward(x, given)
        return _spoiled(z, bad), _spoiled(ladj, bad)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """ln p(x | context) ``(n,)``."""
        given, bad = self._checked(x, context)
        z, ladj = self._forward(x, given)
        return _spoiled(ladj + self._torch(x).base_log_prob(z), bad)

    def sample(
        self,
        n: int,
        context: Tensor | None = None,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Draw ``n`` samples for every row of the context.

        Arguments:
            n: Samples per row.
            context: ``(rows, C)``, whose type and device the samples take; ``None`` for a flow
                without context.
            seed: Of torch's generator on the processor.
            dtype: Of the samples if there is no context.
        Returns: ``(rows, n, D)``, or ``(n, D)`` without context.
        """
        if n < 0:
            msg = f"cannot draw {n} samples; ask for 0 or more"
            raise ValueError(msg)
        kind = dtype if context is None else context.dtype
        device = torch.device("cpu") if context is None else context.device
        repeated = None if context is None else context.repeat_interleave(n, 0)
        count = n if repeated is None else len(repeated)
        generator = torch.Generator().manual_seed(seed)
        normal = torch.randn(count, self.plan.features, generator=generator, dtype=torch.float64)
        base = self.plan.base
        noise = normal * torch.from_numpy(base.scale) + torch.from_numpy(base.loc)
        x = self.inverse(noise.to(device, kind), repeated)
        return x if context is None else x.reshape(len(context), n, self.plan.features)

    def _checked(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the context, and which of its rows are not finite; count them."""
        given = x.new_zeros(len(x), 0) if context is None else context
        for name, tensor, width in (
            ("features", x, self.plan.features),
            ("context", given, self.plan.context),
        ):
            if tensor.shape != (len(x), width) or tensor.dtype not in _KINDS:
                msg = (
                    f"{name} of shape {tuple(tensor.shape)} and type {tensor.dtype}: expected "
                    f"{(len(x), width)} of float32 or float64"
                )
                raise ValueError(msg)
        if given.dtype != x.dtype or given.device != x.device:
            msg = f"features are {x.dtype} on {x.device}, context {given.dtype} on {given.device}"
            raise ValueError(msg)
        bad = ~torch.isfinite(given).all(1)
        with self._lock:
            self._rows += len(x)
            # stays on the device: nothing waits for it until somebody asks
            self._nonfinite[x.device] = bad.sum() + self._nonfinite.get(x.device, 0)
        return given, bad

    def _forward(self, x: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        if x.device.type != "cpu":
            plain = self._torch(x)
            parts = [plain.forward(*piece) for piece in _pieces(x, given)]
            return torch.cat([z for z, _ in parts]), torch.cat([ladj for _, ladj in parts])
        data, conditions = _arrays(x, given)
        z, ladj = np.empty_like(data), np.empty(len(data), data.dtype)
        flow = self._cpu(x.dtype)

        def fill(rows: slice) -> None:
            z[rows], ladj[rows] = flow.forward(data[rows], conditions[rows])

        self._in_pieces(fill, len(z))
        return torch.from_numpy(z), torch.from_numpy(ladj)

    def _in_pieces(self, fill: Callable[[slice], None], rows: int) -> None:
        pieces = [slice(i, i + CHUNK) for i in range(0, rows, CHUNK)]
        for done in [self._threads().submit(fill, piece) for piece in pieces]:
            done.result()

    def _cpu(self, dtype: torch.dtype) -> CpuFlow:
        with self._lock:
            if dtype not in self._compiled:
                self._compiled[dtype] = CpuFlow(self.plan, _KINDS[dtype])
                self._ways["cpu"] = "compiled"
            return self._compiled[dtype]

    def _torch(self, x: Tensor) -> TorchFlow:
        key = x.dtype, x.device
        with self._lock:
            if key not in self._plain:
                self._plain[key] = device_flow(self.plan, *key)
                if x.device.type != "cpu":
                    self._ways[str(x.device)] = self._plain[key].way
            return self._plain[key]

    def _threads(self) -> ThreadPoolExecutor:
        """Threads with denormals flushed; a forked child gets its own."""
        with self._lock:
            if self._pool is None or self._process != os.getpid():
                self._process = os.getpid()
                self._pool = ThreadPoolExecutor(
                    self.threads, "flow-engine", torch.set_flush_denormal, (True,)
                )
            return self._pool


_KINDS: dict[torch.dtype, Any] = {torch.float32: np.float32, torch.float64: np.float64}


def compile_flow(
    flow: Any, parametrisation: Parametrisation = "nflows", threads: int | None = None
) -> Engine:
    """Compile a trained flow at the weights it has now.

    Arguments:
        flow: What :func:`flows.engine.compile_plan.compile_plan` takes, in evaluation mode.
        parametrisation: How the scales of nflows' affine layers follow from their networks.
        threads: See :class:`Engine`.
    Raises: CompileError if a part of it has no place in a plan.
    """
    from flows.engine.compile_plan import compile_plan  # nflows, which stored plans do without

    return Engine(compile_plan(flow, parametrisation), threads)


def _arrays(*tensors: Tensor) -> tuple[NDArray[Any], ...]:
    return tuple(t.detach().contiguous().numpy() for t in tensors)


def _pieces(x: Tensor, given: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut what a device computes, into one piece at least."""
    for i in range(0, max(1, len(x)), DEVICE_CHUNK):
        yield x[i : i + DEVICE_CHUNK], given[i : i + DEVICE_CHUNK]


def _spoiled(result: Tensor, bad: Tensor) -> Tensor:
    """NaN in the bad rows."""
    if bad.device.type != "cpu" or bad.any():
        result.masked_fill_(bad.reshape(-1, *[1] * (result.ndim - 1)), torch.nan)
    return result
