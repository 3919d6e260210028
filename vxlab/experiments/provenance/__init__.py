"""What made the numbers of runs: which may be compared, in what they differ, and the words for it."""
