"""Notebook 03: which singular subspaces learning uses."""
