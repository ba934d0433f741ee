"""SQL of monitoring reports."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.tables.monitoring import MonitoringReport


async def store(session: AsyncSession, values: dict[str, Any]) -> None:
    """Nothing happens if the report is stored already."""
    await session.execute(insert(MonitoringReport).values(values).on_conflict_do_nothing(index_elements=["id"]))


async def get(session: AsyncSession, report_id: str) -> MonitoringReport | None:
    return await session.get(MonitoringReport, report_id)


async def page(session: AsyncSession, deployment: str | None, limit: int, before: str | None) -> Sequence[Any]:
    """Newest first, without their content."""
    table = MonitoringReport
    query = select(
        table.id, table.deployment, table.since, table.until, table.model_version, table.job_id,
        table.created_at, table.created_by,
    ).order_by(table.id.desc()).limit(limit)  # fmt: skip
    if deployment is not None:
        query = query.where(table.deployment == deployment)
    if before is not None:
        query = query.where(table.id < before)
    return (await session.execute(query)).all()
