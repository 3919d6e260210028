"""Notebook 06: what an adapter's start and parts are worth."""
