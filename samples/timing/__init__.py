"""A toy of the EIC KLM: muons in scintillator bars, optical photons at both sensors of each bar."""
