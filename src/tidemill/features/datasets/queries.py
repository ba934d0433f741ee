"""SQL of datasets."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from tidemill.db.pages import Cut, cut_entities, cut_rows
from tidemill.db.tables.datasets import Dataset, DatasetPin, DatasetVersion
from tidemill.db.tables.jobs import Job
from tidemill.features.datasets.states import VersionState
from tidemill.jobs.states import FINAL
from tidemill.kit import ids

_READY = DatasetVersion.state == VersionState.READY
_MOST_NUMBERS = 10_000


@dataclass(frozen=True)
class Listed:
    """A dataset with its newest version and how many it has."""

    dataset: Dataset
    latest: DatasetVersion
    version_count: int


async def lock_or_create(session: AsyncSession, name: str) -> Dataset:
    """The dataset's row, locked until the transaction ends."""
    row = insert(Dataset).values(id=ids.new_id(ids.DATASET), name=name)
    await session.execute(row.on_conflict_do_nothing(index_elements=["name"]))
    return (await session.scalars(select(Dataset).where(Dataset.name == name).with_for_update())).one()


async def lock(session: AsyncSession, dataset_id: str) -> Dataset | None:
    query = select(Dataset).where(Dataset.id == dataset_id).with_for_update()
    return (await session.scalars(query.execution_options(populate_existing=True))).one_or_none()


async def by_fingerprint(session: AsyncSession, dataset_id: str, fingerprint: str) -> DatasetVersion | None:
    query = select(DatasetVersion).where(
        DatasetVersion.dataset_id == dataset_id, DatasetVersion.fingerprint == fingerprint
    )
    return (await session.scalars(query)).one_or_none()


async def version(session: AsyncSession, name: str, number: int | None) -> DatasetVersion | None:
    """A ready version; the newest without ``number``."""
    query = select(DatasetVersion).where(DatasetVersion.dataset_name == name, _READY)
    if number is not None:
        query = query.where(DatasetVersion.number == number)
    return (await session.scalars(query.order_by(DatasetVersion.number.desc()).limit(1))).one_or_none()


async def newest_sha256s(session: AsyncSession, limit: int) -> Sequence[str]:
    """Of the raw bytes of the newest versions, in any state."""
    query = select(DatasetVersion.sha256).order_by(DatasetVersion.created_at.desc()).limit(limit)
    return (await session.scalars(query)).all()


async def datasets_page(session: AsyncSession, page_size: int, after: str | None) -> Cut[Listed]:
    """By name; only datasets with a ready version."""
    newest = (
        select(DatasetVersion.dataset_id, func.max(DatasetVersion.number).label("number"), func.count().label("count"))
        .where(_READY)
        .group_by(DatasetVersion.dataset_id)
        .subquery()
    )
    query = (
        select(Dataset, DatasetVersion, newest.c.count)
        .join(newest, newest.c.dataset_id == Dataset.id)
        .join(DatasetVersion, (DatasetVersion.dataset_id == Dataset.id) & (DatasetVersion.number == newest.c.number))
        .options(defer(DatasetVersion.profile))
        .order_by(Dataset.name)
    )
    query = query if after is None else query.where(Dataset.name > after)
    large = (Dataset.contract, DatasetVersion.table_schema, DatasetVersion.warnings, DatasetVersion.parts)
    found = await cut_rows(session, query, large, page_size)
    return Cut([Listed(*row) for row in found.items], found.more)


async def dataset(session: AsyncSession, name: str) -> Listed | None:
    found = await session.scalar(select(Dataset).where(Dataset.name == name))
    latest = await version(session, name, None)
    if found is None or latest is None:
        return None
    count = select(func.count()).where(DatasetVersion.dataset_id == found.id, _READY)
    return Listed(found, latest, await session.scalar(count) or 0)


async def numbers(session: AsyncSession, name: str) -> list[int]:
    """Of the ready versions, newest first."""
    query = select(DatasetVersion.number).where(DatasetVersion.dataset_name == name, _READY)
    found = await session.scalars(query.order_by(DatasetVersion.number.desc()).limit(_MOST_NUMBERS))
    return [number for number in found if number is not None]


async def versions_page(session: AsyncSession, name: str, page_size: int, before: int | None) -> Cut[DatasetVersion]:
    """Ready versions, newest first, without their profiles."""
    query = (
        select(DatasetVersion).where(DatasetVersion.dataset_name == name, _READY).options(defer(DatasetVersion.profile))
    )
    if before is not None:
        query = query.where(DatasetVersion.number < before)
    large = (DatasetVersion.table_schema, DatasetVersion.warnings, DatasetVersion.parts)
    return await cut_entities(session, query.order_by(DatasetVersion.number.desc()), large, page_size)


async def dependents(session: AsyncSession, version_id: str, limit: int = 100) -> list[str]:
    """What pins the version; the pin of a job that has ended, in whatever way, does not count."""
    query = (
        select(DatasetPin.dependent)
        .outerjoin(Job, Job.id == DatasetPin.job_id)
        .where(DatasetPin.dataset_version_id == version_id, DatasetPin.job_id.is_(None) | Job.status.not_in(FINAL))
    )
    return list(await session.scalars(query.order_by(DatasetPin.dependent).limit(limit)))


async def insert_pin(session: AsyncSession, version_id: str, dependent: str, job_id: str | None) -> None:
    row = insert(DatasetPin).values(dataset_version_id=version_id, dependent=dependent, job_id=job_id)
    await session.execute(row.on_conflict_do_nothing())


async def delete_pin(session: AsyncSession, version_id: str, dependent: str) -> None:
    await session.execute(
        delete(DatasetPin).where(DatasetPin.dataset_version_id == version_id, DatasetPin.dependent == dependent)
    )


async def delete_pins(session: AsyncSession, version_id: str) -> None:
    await session.execute(delete(DatasetPin).where(DatasetPin.dataset_version_id == version_id))


async def pending_before(session: AsyncSession, moment: datetime, limit: int = 1000) -> Sequence[DatasetVersion]:
    query = select(DatasetVersion).where(
        DatasetVersion.state == VersionState.PENDING, DatasetVersion.created_at < moment
    )
    return (await session.scalars(query.limit(limit))).all()


async def known_raw(session: AsyncSession, addresses: Sequence[str]) -> set[str]:
    """Those of ``addresses`` that some version, ready or pending, has as its raw bytes."""
    query = select(DatasetVersion.sha256).where(DatasetVersion.sha256.in_(addresses))
    return set(await session.scalars(query))


async def known_parts(session: AsyncSession, keys: Sequence[str]) -> set[str]:
    """Those of ``keys`` that are a part of some version."""
    unnested = func.jsonb_array_elements(DatasetVersion.parts).table_valued("value", name="part")
    key = unnested.c.value.op("->>")("key")
    query = select(key).select_from(DatasetVersion).join(unnested, onclause=true()).where(key.in_(keys))
    return set(await session.scalars(query))
