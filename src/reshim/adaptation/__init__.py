"""Fitting a trained network to the scan at hand, and what else mends a scan that it was not trained for."""

MODES = ("none", "reconcile", "slice", "volume", "auto", "reference")
"""What ``--adapt`` takes; the first leaves a network as it is. `reshim.adaptation.modes` makes the others."""
