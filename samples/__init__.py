"""The stand-in for full simulation: Pythia events through a parametric detector."""
