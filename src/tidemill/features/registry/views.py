"""Rows of the registry as the wire shows them."""

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.tables.registry import Model, ModelVersion
from tidemill.features.registry import queries, service
from tidemill.features.registry.states import CHAMPION
from tidemill.schemas import registry as wire


async def version_view(session: AsyncSession, version: ModelVersion) -> wire.ModelVersion:
    return (await version_views(session, [version]))[0]


async def version_views(session: AsyncSession, versions: list[ModelVersion]) -> list[wire.ModelVersion]:
    """With the aliases that point at each version now."""
    aliases = await service.aliases_by_model(session, list({version.model_id for version in versions}))
    return [_version(version, aliases[version.model_id]) for version in versions]


async def summaries(session: AsyncSession, models: list[Model]) -> list[wire.ModelSummary]:
    ids = [model.id for model in models]
    aliases = await service.aliases_by_model(session, ids)
    champions = await queries.versions_at_alias(session, ids, CHAMPION)
    return [_summary(model, aliases[model.id], champions.get(model.id)) for model in models]


def _summary(model: Model, aliases: dict[str, int], champion: ModelVersion | None) -> wire.ModelSummary:
    return wire.ModelSummary(
        name=model.name,
        latest_version=model.last_number,
        aliases=aliases,
        champion=None if champion is None else _version(champion, aliases),
        created_at=model.created_at,
        created_by=model.created_by,
    )


def _version(version: ModelVersion, aliases: dict[str, int]) -> wire.ModelVersion:
    view = wire.ModelVersion.model_validate(version)
    view.aliases = sorted(alias for alias, number in aliases.items() if number == version.number)
    return view
