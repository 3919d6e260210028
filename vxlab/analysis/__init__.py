"""Tensor mathematics on weights, updates and gradients."""
