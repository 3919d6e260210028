"""What every adapter stands on: the operation, the adapted layer, the method and family contracts, fingerprints."""
