"""Names of the status flags of generator particles."""

from __future__ import annotations

__all__ = ["STATUS_FLAGS"]

STATUS_FLAGS = (
    "isPrompt",
    "isDecayedLeptonHadron",
    "isTauDecayProduct",
    "isPromptTauDecayProduct",
    "isDirectTauDecayProduct",
    "isDirectPromptTauDecayProduct",
    "isDirectHadronDecayProduct",
    "isHardProcess",
    "fromHardProcess",
    "isHardProcessTauDecayProduct",
    "isDirectHardProcessTauDecayProduct",
    "fromHardProcessBeforeFSR",
    "isFirstCopy",
    "isLastCopy",
    "isLastCopyBeforeFSR",
)
"""Bits 0 to 14 of ``GenPart_statusFlags``: CMSSW ``GenStatusFlags``."""
