"""Metrics of models with their intervals, on numpy arrays. No I/O."""
