"""Policies, free aliases, deletion: what an operator does with models besides promoting them."""

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.tables.registry import AliasEvent, ModelVersion
from tidemill.features.registry import dataset_link, queries, service
from tidemill.features.registry.policy import CHECKS
from tidemill.features.registry.service import Cause
from tidemill.features.registry.states import CHAMPION, Move
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Conflict, Invalid, NotFound, PreconditionFailed, Problem
from tidemill.kit.etags import names_tag
from tidemill.kit.metrics import check_metric
from tidemill.schemas.registry import AliasSet, Compare, GatePolicy, Policy


async def any_version(session: AsyncSession, name: str, number: int) -> ModelVersion:
    """A version, deleted or not. Raises NotFound for one that never was."""
    model = await service.get_model(session, name)
    version = await queries.version(session, model.id, number)
    if version is None:
        raise NotFound("model_version_not_found", "The model has no such version.")
    return version


async def delete_version(session: AsyncSession, name: str, number: int, who: str) -> ModelVersion:
    """Mark a version deleted; its objects go with the next collection of orphans.

    Raises Conflict (``model_version_in_use``) naming each alias and dependent that needs it.
    """
    model = await service.locked_model(session, name)
    version = await service.get_version(session, model, number)
    aliases = (await service.aliases_by_model(session, [model.id]))[model.id]
    users = [f"alias {alias}" for alias, pointed in aliases.items() if pointed == number]
    users.extend(pin.dependent for pin in await queries.pins(session, version.id))
    if users:
        problems = [Problem(user, "in_use", "Points to this version.") for user in users]
        raise Conflict("model_version_in_use", f"Version {number} is in use: {', '.join(users)}.", problems)
    version.deleted_at, version.deleted_by = utc_now(), who
    await dataset_link.unpin(session, version)
    await session.flush()
    return version


async def policy(session: AsyncSession, name: str) -> Policy:
    model = await service.get_model(session, name)
    return Policy(policy=GatePolicy.model_validate(model.policy), revision=model.policy_revision)


async def set_policy(session: AsyncSession, name: str, new: GatePolicy, if_match: str | None) -> Policy:
    """Replace the policy.

    Raises PreconditionFailed if ``if_match`` is not the present revision's ETag, Invalid for a metric or check that
    there is not: a gate that overlooked a wrong name would decide by another rule than was meant.
    """
    if new.metric is not None:
        check_metric(new.metric)
    if strange := sorted(set(new.ignored_checks) - set(CHECKS)):
        problems = [Problem("/ignored_checks", "check_unknown", f"One of: {', '.join(CHECKS)}.") for _ in strange]
        raise Invalid("check_unknown", f"Checks of the gate are: {', '.join(CHECKS)}.", problems)
    model = await service.locked_model(session, name)
    if if_match is not None and not names_tag(if_match, f'"{model.policy_revision}"'):
        raise PreconditionFailed("policy_changed", "The policy was changed since it was read.")
    stored = new.model_dump(mode="json")
    if stored != model.policy:
        model.policy = stored
        model.policy_revision += 1
        await session.flush()
    return Policy(policy=new, revision=model.policy_revision)


async def set_alias(session: AsyncSession, name: str, alias: str, wish: AliasSet, who: str) -> AliasEvent:
    _refuse_champion(alias)
    model = await service.locked_model(session, name)
    return await service.move_alias(session, model, alias, wish.version, Cause(who, wish.reason or "Set by hand"))


async def delete_alias(session: AsyncSession, name: str, alias: str, who: str) -> AliasEvent:
    _refuse_champion(alias)
    model = await service.locked_model(session, name)
    if await service.alias_number(session, model, alias) is None:
        raise NotFound("alias_not_found", f"The model has no alias {alias}.")
    return await service.move_alias(session, model, alias, None, Cause(who, "Removed by hand", Move.REMOVED))


async def check_comparable(session: AsyncSession, name: str, wish: Compare) -> None:
    """Raises NotFound now rather than in the job."""
    model = await service.get_model(session, name)
    await service.get_version(session, model, wish.version)
    other = await service.get_model(session, wish.other_model or name)
    await service.get_version(session, other, wish.other)


def _refuse_champion(alias: str) -> None:
    if alias == CHAMPION:
        raise Conflict("alias_reserved", "The alias champion is moved by promotion and rollback only.")
