"""Writes predictions straight into the ledger, and the model versions that made them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.engine import SessionFactory, transaction
from tidemill.features.predictions import partitions
from tidemill.features.registry.service import NewModelVersion, register_version
from tidemill.kit import ids
from tidemill.kit.clock import utc_now

_INSERT = text("""
    INSERT INTO predictions (prediction_id, predicted_at, deployment, model_name, model_version, request_id, principal,
                             inputs, output)
    VALUES (:prediction_id, :predicted_at, :deployment, :model_name, :model_version, 'request-0001', 'key_0',
            '{}', CAST(:output AS json))
""")


@dataclass(frozen=True)
class Predicted:
    """One row of the ledger to be; ``moment`` goes into its id too."""

    output: dict[str, Any]
    moment: datetime = field(default_factory=utc_now)
    model_version: int = 1
    deployment: str = "adult-income"
    model_name: str = "adult-income"
    tail: str | None = None
    """The 20 hexadecimal digits of its id after those of its moment; random by default."""


def id_at(moment: datetime, tail: str | None = None) -> str:
    """A prediction's id as if made at ``moment``."""
    milliseconds = int(moment.timestamp() * 1000)
    return f"{ids.PREDICTION}_{milliseconds:012x}{tail or ids.new_id(ids.PREDICTION)[-20:]}"


async def add_predictions(sessions: SessionFactory, rows: Sequence[Predicted]) -> list[str]:
    """Store ``rows`` and return their ids in order."""
    midnight = {"hour": 0, "minute": 0, "second": 0, "microsecond": 0}
    await partitions.ensure(sessions, {row.moment.replace(**midnight) for row in rows})
    made = [id_at(row.moment, row.tail) for row in rows]
    values = [
        {
            "prediction_id": made[index],
            "predicted_at": row.moment,
            "deployment": row.deployment,
            "model_name": row.model_name,
            "model_version": row.model_version,
            "output": json.dumps(row.output),
        }
        for index, row in enumerate(rows)
    ]
    async with transaction(sessions) as session:
        await session.execute(_INSERT, values)
    return made


async def add_version(session: AsyncSession, **fields: Any) -> int:
    """Register a version of ``adult-income`` (binary, unless ``fields`` say otherwise) and return its number."""
    values = {
        "model_name": "adult-income",
        "created_by": "key_0",
        "job_id": ids.new_id(ids.JOB),
        "flavor": "tidemill",
        "signature": {"inputs": [], "outputs": [], "params": []},
        "bundle_sha256": "0" * 64,
        "bundle_size_bytes": 1,
        "task": "binary",
        "target": "income",
        "classes": ["<=50K", ">50K"],
        "metric": "roc_auc",
    }
    return (await register_version(session, NewModelVersion(**(values | fields)))).number
