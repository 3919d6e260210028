"""The rank explorer's tables: what each rank costs and reaches before training."""
