"""The update explorer's tables: what a run learnt in each layer."""
