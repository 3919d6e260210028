"""What a model is fine-tuned on: labelled texts in three splits, from files, the hub or packages."""
