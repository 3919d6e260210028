"""Explorers: what a reader chooses and what each choice shows, with and without a kernel."""
