"""SQL of deployments."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Text, and_, cast, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.pages import Cut, cut_rows
from tidemill.db.tables.deployments import Deployment, DeploymentEvent, ModelServer
from tidemill.db.tables.registry import Model, ModelAlias, ModelVersion

_LARGE = (ModelVersion.signature, ModelVersion.classes)
Resolved = tuple[Deployment, ModelVersion | None]


def _resolving() -> Select[Deployment, ModelVersion]:
    """Deployments with the version they mean now. One statement, since model servers ask every second."""
    wanted = func.coalesce(Deployment.number, ModelAlias.number)
    return (
        select(Deployment, ModelVersion)
        .outerjoin(Model, Model.name == Deployment.model_name)
        .outerjoin(ModelAlias, and_(ModelAlias.model_id == Model.id, ModelAlias.alias == Deployment.alias))
        .outerjoin(
            ModelVersion,
            and_(ModelVersion.model_id == Model.id, ModelVersion.number == wanted, ModelVersion.deleted_at.is_(None)),
        )
    )


async def _rows(session: AsyncSession, query: Select[Deployment, ModelVersion]) -> list[Resolved]:
    return [(deployment, version) for deployment, version in await session.execute(query)]


async def resolved_page(session: AsyncSession, page_size: int, after: str | None) -> Cut[Resolved]:
    """By name, those after the name ``after``."""
    query = _resolving().order_by(Deployment.name)
    query = query if after is None else query.where(Deployment.name > after)
    found = await cut_rows(session, query, _LARGE, page_size)
    return Cut([(row[0], row[1]) for row in found.items], found.more)


async def resolved(session: AsyncSession, limit: int, most_bytes: int) -> Cut[Resolved]:
    """The first by name whose signatures and classes take at most ``most_bytes`` together."""
    found = await cut_rows(session, _resolving().order_by(Deployment.name), _LARGE, limit, most_bytes)
    return Cut([(row[0], row[1]) for row in found.items], found.more)


async def names(session: AsyncSession, limit: int) -> Sequence[str]:
    """In order."""
    return (await session.scalars(select(Deployment.name).order_by(Deployment.name).limit(limit))).all()


async def totals(session: AsyncSession) -> tuple[int, int]:
    """How many deployments there are, and what the signatures and classes of their versions take together."""
    sizes = [func.coalesce(func.octet_length(cast(column, Text)), 0) for column in _LARGE]
    query = _resolving().with_only_columns(
        func.count(), func.coalesce(func.sum(sizes[0] + sizes[1]), 0), maintain_column_froms=True
    )
    count, size_bytes = (await session.execute(query)).one()
    return int(count), int(size_bytes)


async def resolved_one(session: AsyncSession, name: str) -> Resolved | None:
    rows = await _rows(session, _resolving().where(Deployment.name == name))
    return rows[0] if rows else None


async def insert_if_missing(session: AsyncSession, values: dict[str, Any]) -> bool:
    """True if the deployment is new."""
    statement = insert(Deployment).values(values).on_conflict_do_nothing(index_elements=["name"])
    return (await session.execute(statement.returning(Deployment.id))).first() is not None


async def lock(session: AsyncSession, name: str) -> Deployment | None:
    query = select(Deployment).where(Deployment.name == name).with_for_update()
    return await session.scalar(query.execution_options(populate_existing=True))


async def events_page(session: AsyncSession, name: str, limit: int, before: int | None) -> Sequence[DeploymentEvent]:
    """Newest first."""
    query = select(DeploymentEvent).where(DeploymentEvent.deployment == name)
    if before is not None:
        query = query.where(DeploymentEvent.seq < before)
    return (await session.scalars(query.order_by(DeploymentEvent.seq.desc()).limit(limit))).all()


_ON_SERVERS = text("""
    SELECT id, seen_at, item FROM model_servers, jsonb_array_elements(report->'deployments') AS item
    WHERE seen_at >= :since AND item->>'name' = :name ORDER BY id LIMIT :limit
""")


async def on_servers(
    session: AsyncSession, name: str, since: datetime, limit: int = 200
) -> list[tuple[str, datetime, dict[str, Any]]]:
    """Id, last report and what it says of the deployment, of each model server that has it and was heard of since."""
    found = await session.execute(_ON_SERVERS, {"name": name, "since": since, "limit": limit})
    return [(row[0], row[1], row[2]) for row in found]


async def store_report(session: AsyncSession, server_id: str, report: dict[str, Any], now: datetime) -> None:
    statement = insert(ModelServer).values(id=server_id, seen_at=now, report=report)
    changed = {"seen_at": statement.excluded.seen_at, "report": statement.excluded.report}
    await session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changed))
