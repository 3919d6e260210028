"""Packaged models and data: what can be fetched, fetched and verified once, kept in the cache."""
