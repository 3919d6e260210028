"""Runs and sweeps: what a run is, and the packages that load, train, score, keep and compare."""
