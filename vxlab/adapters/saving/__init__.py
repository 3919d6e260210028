"""An adapter on disk: its two files, and what save_pretrained writes while it is on a model."""
