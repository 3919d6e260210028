"""One run: its inputs, its training or its probe, its record, and what it trained."""
