"""Pretrained models: their files, loading, padding, and whether merging changes what they answer."""
