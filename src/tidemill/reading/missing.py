"""Texts that mean a missing value."""

from tidemill.kit.missing import MISSING_TEXTS
from tidemill.schemas.datasets import IngestOptions


def missing_tokens(options: IngestOptions) -> list[str]:
    """Besides the empty text, which always means it."""
    return [*(MISSING_TEXTS if options.default_missing else ()), *options.missing]
