"""Alembic's folder: `env` and the revisions, shipped inside the package."""

import re
from typing import Any

_PARTITION = re.compile(r"predictions_\d{8}")


def is_ours(name: str | None, kind: str, _parents: Any) -> bool:
    """False for the tables of the queue, which Procrastinate declares itself, and for the ledger's day partitions."""
    if kind != "table" or name is None:
        return True
    return not name.startswith("procrastinate_") and _PARTITION.fullmatch(name) is None
