"""Texts that mean a missing value, wherever a file without types is read."""

MISSING_TEXTS = ("NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL")
"""Besides the empty text, which always means it."""
