"""Scores of predictions, how uncertain they are, and what a difference of two shows."""
