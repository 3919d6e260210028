"""A run to sit beside while it trains."""
