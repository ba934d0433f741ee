"""Versions for tests that need rows, not models."""

from typing import Any

from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.registry import ModelVersion
from tidemill.features.registry import service
from tidemill.features.registry.service import NewModelVersion
from tidemill.kit import ids

SIGNATURE = {
    "inputs": [
        {"name": "age", "type": "double", "required": True},
        {"name": "town", "type": "string", "required": False},
    ],
    "outputs": [],
    "params": [],
}


def new_version(name: str = "loans", **changes: Any) -> NewModelVersion:
    values: dict[str, Any] = {
        "model_name": name,
        "created_by": "key_maker",
        "job_id": ids.new_id(ids.JOB),
        "flavor": "tidemill",
        "signature": SIGNATURE,
        "bundle_sha256": "0" * 64,
        "bundle_size_bytes": 1,
        "task": "binary",
        "target": "good",
        "classes": ["no", "yes"],
        "metric": "roc_auc",
        "metrics": {"roc_auc": {"value": 0.8, "low": 0.7, "high": 0.9}},
    }
    return NewModelVersion(**values | changes)


async def register(sessions: SessionFactory, name: str = "loans", **changes: Any) -> ModelVersion:
    async with transaction(sessions) as session:
        return await service.register_version(session, new_version(name, **changes))
