"""Reports: notebooks executed with parameters, their pages, and the index of all."""
