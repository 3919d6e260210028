"""Notebook 05: which matrices a family can express with so many parameters."""
