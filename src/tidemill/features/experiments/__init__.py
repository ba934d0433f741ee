"""Training runs: start them, follow what they found, rank them."""
