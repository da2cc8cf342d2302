"""What a row of a bar says."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["BAR_COLUMNS"]

BAR_COLUMNS: Mapping[str, str] = {
    "event_idx": "position of the event in the file",
    "cell": "cell id, bits that do not tell a bar zero",
    "nLow": "photons at the low end",
    "nHigh": "photons at the high end",
    "chargeLow": "integral of the signal at the low end, heights of one photon's pulse · ns",
    "chargeHigh": "the same at the high end",
    "timeLow": "constant-fraction time at the low end, ns, NaN below the threshold",
    "timeHigh": "the same at the high end",
    "edgeLow": "leading-edge time at the low end, ns, NaN below the threshold",
    "edgeHigh": "the same at the high end",
    "energy": "deposited by all particles, GeV",
    "hitIdx": "earliest hit, position among the event's",
    "particleIdx": "its particle, position in MCParticles, −1 for none",
    "pdgId": "its kind",
    "x": "its position, mm",
    "y": "mm",
    "z": "mm",
    "originIdx": "generated particle that all hits come from, position in MCParticles, −1 for none",
    "originPdgId": "its kind, 0 for none",
    "originP": "its momentum, GeV, NaN for none",
    "originTheta": "polar angle of its momentum, degrees",
    "originPhi": "azimuth of its momentum, degrees",
}
"""By name; the fields of the cell ids that tell a bar are further ones."""
