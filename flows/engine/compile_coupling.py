"""Spline couplings of nflows as steps of a plan.

Conventions of nflows 0.14 (bayesiains/nflows, transforms/coupling.py, nn/nets/resnet.py): features
whose mask is positive are transformed; the network sees the others beside the context, which also
gates what every block adds; raw widths and heights are divided by √hidden.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from nflows.nn.nets import ResidualNet as NflowsNet
from torch.nn.functional import relu

from flows.engine.plan import Coupling, Dense, Gated, Parametrisation, ResidualNet
from flows.engine.weights import CompileError, folded_norm, shrunk, to_array
from flows.spline import Limits

__all__ = ["compile_coupling", "compile_residual_net"]


def compile_coupling(layer: Any, features: int, _: Parametrisation = "nflows") -> Coupling:
    """Write a ``PiecewiseRationalQuadraticCouplingTransform`` with a residual network.

    Raises: CompileError for other tails or networks, or if the kept features are transformed too.
    """
    if layer.tails != "linear":
        msg = f"a spline with tails {layer.tails!r} cannot be compiled; linear tails can"
        raise CompileError(msg)
    if layer.unconditional_transform is not None:
        msg = "a coupling that also transforms what it keeps cannot be compiled"
        raise CompileError(msg)
    if layer.features != features:
        msg = f"expected a coupling of {features} features, found one of {layer.features}"
        raise CompileError(msg)
    net = compile_residual_net(layer.transform_net)
    net = ResidualNet(net.first, net.blocks, shrunk(net.final, layer.num_bins, layer.transform_net))
    kept, moved = (
        np.asarray(indices.cpu(), dtype=np.int64)
        for indices in (layer.identity_features, layer.transform_features)
    )
    limits = Limits(layer.min_bin_width, layer.min_bin_height, layer.min_derivative, np.inf)
    return Coupling(kept, moved, net, layer.num_bins, float(layer.tail_bound), limits)


def compile_residual_net(net: Any) -> ResidualNet:
    """Write a network: batch norm folded, dropout gone.

    Raises: CompileError unless it is nflows' ``ResidualNet`` with relu.
    """
    if not isinstance(net, NflowsNet):
        msg = f"expected nflows' ResidualNet, found {type(net).__name__}"
        raise CompileError(msg)
    for block in net.blocks:
        if block.activation not in (relu, torch.relu):
            msg = f"activation {block.activation} cannot be compiled; relu can"
            raise CompileError(msg)
    blocks = tuple(_block(block) for block in net.blocks)
    return ResidualNet(_dense(net.initial_layer), blocks, _dense(net.final_layer))


def _block(block: Any) -> Gated:
    first, second = block.linear_layers
    norms = block.batch_norm_layers if block.use_batch_norm else (None, None)
    scale, shift = folded_norm(norms[0], first.in_features)
    factor, offset = folded_norm(norms[1], first.out_features)
    inner = _dense(first)
    folded = Dense(inner.weight * factor[:, None], inner.bias * factor + offset)
    gate = _dense(block.context_layer) if hasattr(block, "context_layer") else None
    return Gated(scale, shift, folded, _dense(second), gate)


def _dense(layer: Any) -> Dense:
    return Dense(to_array(layer.weight), to_array(layer.bias))
