"""What methods cost: parameters and bytes by count, time and memory of a step by measurement."""
