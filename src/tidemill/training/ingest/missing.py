"""Texts that mean a missing value."""

from tidemill.schemas.datasets import IngestOptions

DEFAULT_MISSING = ("NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL")


def missing_tokens(options: IngestOptions) -> list[str]:
    """Besides the empty text, which always means it."""
    return [*(DEFAULT_MISSING if options.default_missing else ()), *options.missing]
