"""Trained autoregressive flows, compiled: noise to data in one pass instead of one per feature."""

from flows.engine.facade import Engine, EngineStats, compile_flow
from flows.engine.weights import CompileError

__all__ = ["CompileError", "Engine", "EngineStats", "compile_flow"]
