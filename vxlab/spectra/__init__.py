"""Singular values and vectors of weights: exact, on the GPU where there is one, kept on disk."""
