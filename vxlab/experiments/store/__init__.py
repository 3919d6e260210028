"""The results store: runs in a database and their folders, claimed, read, kept and looked after."""
