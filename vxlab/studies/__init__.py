"""Questions that notebooks ask: the tables, claims and findings of each, one folder a notebook."""
