"""SQL of the registry."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from tidemill.db.pages import Cut, cut_entities
from tidemill.db.tables.registry import (
    AliasEvent,
    GateDecision,
    Model,
    ModelAlias,
    ModelVersion,
    ModelVersionPin,
)
from tidemill.features.registry.states import CHALLENGER, CHAMPION, MAX_ALIASES
from tidemill.kit import ids

_LARGE = (ModelVersion.signature, ModelVersion.classes, ModelVersion.metrics, ModelVersion.warnings)


async def model_named(session: AsyncSession, name: str) -> Model | None:
    return await session.scalar(select(Model).where(Model.name == name))


async def lock_model(session: AsyncSession, name: str) -> Model | None:
    """The model's row, held until the transaction ends: whoever moves an alias comes through here."""
    query = select(Model).where(Model.name == name).with_for_update().execution_options(populate_existing=True)
    return await session.scalar(query)


async def create_model_if_missing(session: AsyncSession, name: str, policy: dict[str, object], who: str) -> None:
    row = {"id": ids.new_id(ids.MODEL), "name": name, "policy": policy, "created_by": who}
    await session.execute(insert(Model).values(row).on_conflict_do_nothing(index_elements=["name"]))


async def newest_bundles(session: AsyncSession, limit: int) -> Sequence[str]:
    """SHA-256 of the bundles of the newest versions that were not deleted."""
    query = select(ModelVersion.bundle_sha256).where(ModelVersion.deleted_at.is_(None))
    return (await session.scalars(query.order_by(ModelVersion.created_at.desc()).limit(limit))).all()


async def models_page(session: AsyncSession, page_size: int, after: str | None) -> Cut[Model]:
    """By name; what is shown of each is mostly its champion."""
    query = select(Model).order_by(Model.name)
    query = query.outerjoin(ModelAlias, (ModelAlias.model_id == Model.id) & (ModelAlias.alias == CHAMPION))
    here = (ModelVersion.model_id == Model.id) & (ModelVersion.number == ModelAlias.number)
    query = query.outerjoin(ModelVersion, here)
    if after is not None:
        query = query.where(Model.name > after)
    return await cut_entities(session, query, _LARGE, page_size)


async def version(session: AsyncSession, model_id: str, number: int) -> ModelVersion | None:
    return await session.scalar(
        select(ModelVersion).where(ModelVersion.model_id == model_id, ModelVersion.number == number)
    )


async def versions_at_alias(session: AsyncSession, model_ids: Sequence[str], name: str) -> dict[str, ModelVersion]:
    """By model id."""
    here = (ModelAlias.model_id == ModelVersion.model_id) & (ModelAlias.number == ModelVersion.number)
    query = select(ModelVersion).join(ModelAlias, here).where(ModelAlias.alias == name)
    found = await session.scalars(query.where(ModelVersion.model_id.in_(model_ids)))
    return {version.model_id: version for version in found}


async def version_of_job(session: AsyncSession, job_id: str) -> ModelVersion | None:
    return await session.scalar(select(ModelVersion).where(ModelVersion.job_id == job_id))


async def versions_page(session: AsyncSession, model_id: str, page_size: int, before: int | None) -> Cut[ModelVersion]:
    """Newest first, without deleted ones."""
    query = select(ModelVersion).where(ModelVersion.model_id == model_id, ModelVersion.deleted_at.is_(None))
    if before is not None:
        query = query.where(ModelVersion.number < before)
    return await cut_entities(session, query.order_by(ModelVersion.number.desc()), _LARGE, page_size)


async def deleted_numbers(session: AsyncSession, model_id: str) -> set[int]:
    query = select(ModelVersion.number).where(ModelVersion.model_id == model_id, ModelVersion.deleted_at.is_not(None))
    return set(await session.scalars(query))


async def bundles_in_use(session: AsyncSession, addresses: Sequence[str]) -> set[str]:
    """Those of the given SHA-256 that are the bundle of a version which is not deleted."""
    alive = ModelVersion.bundle_sha256.in_(addresses), ModelVersion.deleted_at.is_(None)
    return set(await session.scalars(select(ModelVersion.bundle_sha256).where(*alive)))


async def holdouts_in_use(session: AsyncSession, keys: Sequence[str]) -> set[str]:
    """Those of the given keys that are the holdout of a version which is not deleted."""
    alive = ModelVersion.holdout_key.in_(keys), ModelVersion.deleted_at.is_(None)
    return {key for key in await session.scalars(select(ModelVersion.holdout_key).where(*alive)) if key is not None}


async def alias(session: AsyncSession, model_id: str, name: str) -> ModelAlias | None:
    return await session.get(ModelAlias, (model_id, name), populate_existing=True)


async def aliases(session: AsyncSession, model_ids: Sequence[str]) -> Sequence[ModelAlias]:
    query = select(ModelAlias).where(ModelAlias.model_id.in_(model_ids)).order_by(ModelAlias.alias)
    return (await session.scalars(query)).all()


async def count_aliases(session: AsyncSession, model_id: str) -> int:
    own = ModelAlias.model_id == model_id, ModelAlias.alias.not_in((CHAMPION, CHALLENGER))
    return await session.scalar(select(func.count()).where(*own)) or 0


async def any_in_mlflow(session: AsyncSession, model_id: str, numbers: Sequence[int]) -> bool:
    query = select(ModelVersion.id).where(ModelVersion.model_id == model_id, ModelVersion.number.in_(numbers))
    return await session.scalar(query.where(ModelVersion.mlflow_model_uri.is_not(None)).limit(1)) is not None


async def aliases_ever(session: AsyncSession, model_id: str) -> set[str]:
    """Names of all aliases that the model ever had."""
    return set(await session.scalars(select(AliasEvent.alias).where(AliasEvent.model_id == model_id).distinct()))


async def mlflow_uris_of_aliases(session: AsyncSession, model_id: str) -> dict[str, str | None]:
    """Alias to the address in MLflow of the model that it points to."""
    here = (ModelAlias.model_id == ModelVersion.model_id) & (ModelAlias.number == ModelVersion.number)
    query = select(ModelAlias.alias, ModelVersion.mlflow_model_uri).join(ModelVersion, here)
    rows = await session.execute(query.where(ModelAlias.model_id == model_id))
    return {row[0]: row[1] for row in rows}


async def events_page(
    session: AsyncSession, model_id: str, alias_name: str | None, limit: int, before: int | None
) -> Sequence[AliasEvent]:
    """Newest first."""
    query = select(AliasEvent).where(AliasEvent.model_id == model_id)
    if alias_name is not None:
        query = query.where(AliasEvent.alias == alias_name)
    if before is not None:
        query = query.where(AliasEvent.seq < before)
    return (await session.scalars(query.order_by(AliasEvent.seq.desc()).limit(limit))).all()


async def events_of_alias(session: AsyncSession, model_id: str, alias_name: str) -> Sequence[tuple[str, int | None]]:
    """Kind and target of every move of one alias, oldest first."""
    query = (
        select(AliasEvent.kind, AliasEvent.to_number)
        .where(AliasEvent.model_id == model_id, AliasEvent.alias == alias_name)
        .order_by(AliasEvent.seq)
    )
    return [(kind, number) for kind, number in await session.execute(query)]


async def last_moved_at(session: AsyncSession, model_id: str) -> datetime | None:
    return await session.scalar(select(func.max(AliasEvent.moved_at)).where(AliasEvent.model_id == model_id))


async def state_at(session: AsyncSession, model_id: str, moment: datetime) -> Sequence[AliasEvent]:
    """For each alias the last move at or before ``moment``, unless that move removed it."""
    last = (
        select(AliasEvent)
        .where(AliasEvent.model_id == model_id, AliasEvent.moved_at <= moment)
        .distinct(AliasEvent.alias)
        .order_by(AliasEvent.alias, AliasEvent.seq.desc())
        .subquery()
    )
    event = aliased(AliasEvent, last)
    query = select(event).where(event.to_number.is_not(None)).order_by(event.alias).limit(MAX_ALIASES + 2)
    return (await session.scalars(query)).all()


async def decision_of_job(session: AsyncSession, job_id: str) -> GateDecision | None:
    return await session.scalar(select(GateDecision).where(GateDecision.job_id == job_id))


async def decision_about(
    session: AsyncSession, model: Model, number: int, champion_number: int | None
) -> GateDecision | None:
    """The newest decision about this version against this champion under the present policy."""
    same_champion = (
        GateDecision.champion_number.is_(None)
        if champion_number is None
        else GateDecision.champion_number == champion_number
    )
    query = (
        select(GateDecision)
        .where(
            GateDecision.model_id == model.id,
            GateDecision.number == number,
            GateDecision.policy_revision == model.policy_revision,
            same_champion,
        )
        .order_by(GateDecision.decided_at.desc())
        .limit(1)
    )
    return await session.scalar(query)


async def decisions_page(
    session: AsyncSession, model_id: str, number: int | None, page_size: int, before_id: str | None
) -> Cut[GateDecision]:
    """Newest first."""
    query = select(GateDecision).where(GateDecision.model_id == model_id)
    if number is not None:
        query = query.where(GateDecision.number == number)
    if before_id is not None:
        query = query.where(GateDecision.id < before_id)
    large = (GateDecision.policy, GateDecision.checks, GateDecision.comparisons, GateDecision.reasons)
    return await cut_entities(session, query.order_by(GateDecision.id.desc()), large, page_size)


async def pin(session: AsyncSession, version_id: str, dependent: str) -> None:
    row = {"model_version_id": version_id, "dependent": dependent}
    await session.execute(insert(ModelVersionPin).values(row).on_conflict_do_nothing())


async def pins(session: AsyncSession, version_id: str, limit: int = 20) -> Sequence[ModelVersionPin]:
    query = select(ModelVersionPin).where(ModelVersionPin.model_version_id == version_id)
    return (await session.scalars(query.order_by(ModelVersionPin.dependent).limit(limit))).all()
