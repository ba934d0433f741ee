"""Feedback: the truth about predictions, append-only, attached by prediction id."""
