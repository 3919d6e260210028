"""Methods of the peft library, to hold ours against."""
