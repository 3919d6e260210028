"""Notebook 07: what rank costs."""
