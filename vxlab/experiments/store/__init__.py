"""The results store: runs in a database and their folders, leased, read, kept and looked after."""
