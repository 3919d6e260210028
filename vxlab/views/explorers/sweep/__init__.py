"""The sweep explorer."""
