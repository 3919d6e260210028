"""The subspace explorer."""
