"""The TLS scheduler of the executors' tests."""

from __future__ import annotations

from tests.executors.conftest import certificates, tls_scheduler

__all__ = ["certificates", "tls_scheduler"]
