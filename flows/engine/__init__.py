"""Trained autoregressive flows, compiled: noise to data in one pass instead of one per feature."""

from flows.engine.compile_nflows import CompileError
from flows.engine.facade import Engine, EngineStats, compile_flow

__all__ = ["CompileError", "Engine", "EngineStats", "compile_flow"]
