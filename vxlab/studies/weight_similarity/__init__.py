"""Notebook 04: whether VeRA and LoRA learn similar updates."""
