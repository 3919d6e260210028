"""The families of adapters, one a file, and the baselines without an adapter."""
