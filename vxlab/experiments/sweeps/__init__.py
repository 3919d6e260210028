"""Many runs: planned, run once each, tuned fairly, gathered, compared."""
