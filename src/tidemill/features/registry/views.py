"""Rows of the registry as the wire shows them."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.auth.service import names_of
from tidemill.db.tables.registry import AliasEvent, Model, ModelVersion
from tidemill.features.registry import queries, service
from tidemill.features.registry.states import CHAMPION
from tidemill.schemas import registry as wire


async def event_view(session: AsyncSession, event: AliasEvent) -> wire.AliasEvent:
    return (await event_views(session, [event]))[0]


async def event_views(session: AsyncSession, events: Sequence[AliasEvent]) -> list[wire.AliasEvent]:
    """Moves of aliases, with the names of the keys that moved them."""
    names = await names_of(session, [event.who for event in events])
    views = [wire.AliasEvent.model_validate(event) for event in events]
    for view in views:
        view.who_name = names.get(view.who)
    return views


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
