"""What can be done with deployments."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.pages import Cut
from tidemill.db.tables.deployments import Deployment, DeploymentEvent
from tidemill.db.tables.registry import ModelVersion
from tidemill.features.deployments import queries
from tidemill.features.deployments.states import state_of
from tidemill.features.registry import service as registry
from tidemill.features.registry.states import CHAMPION
from tidemill.kit import ids
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Conflict, NotFound, Unsupported
from tidemill.kit.limits import MAX_SNAPSHOT_BYTES
from tidemill.kit.logging import current_request_id
from tidemill.kit.names import split_model_reference
from tidemill.kit.sizes import format_size
from tidemill.schemas.deployments import DeploymentStatus, ServerStatus
from tidemill.schemas.serving import MAX_DEPLOYMENTS, LoadStatus, ServerReport

SERVERS_ARE_GONE_AFTER = timedelta(seconds=30)
_EVENT = "de"


async def apply(session: AsyncSession, name: str, reference: str, who: str) -> tuple[Deployment, ModelVersion, bool]:
    """Serve ``reference`` under ``name``; the same again changes nothing. The last value says whether it is new.

    Raises NotFound or Invalid for a reference that means no version now, Unsupported for one that cannot be served.
    """
    version = await registry.resolve(session, reference)
    _check_servable(version)
    parts = split_model_reference(reference)
    assert parts is not None
    target = {"model_name": parts[0], "alias": None if parts[2] else parts[1] or CHAMPION, "number": parts[2]}
    now = utc_now()
    values = {
        "id": ids.new_id(ids.DEPLOYMENT), "name": name, **target,
        "created_at": now, "created_by": who, "updated_at": now, "updated_by": who,
    }  # fmt: skip
    is_new = await queries.insert_if_missing(session, values)
    deployment = await queries.lock(session, name)
    if deployment is None:
        raise Conflict("deployment_busy", "The deployment is being deleted; try again.")
    if is_new or _change(deployment, target, who):
        await session.flush()
        await _check_room(session)
        await _repin(session, deployment, version)
        _remember(session, deployment, "created" if is_new else "changed", who)
    return deployment, version, is_new


async def get(session: AsyncSession, name: str) -> Deployment:
    """Raises NotFound."""
    return (await get_resolved(session, name))[0]


async def get_resolved(session: AsyncSession, name: str) -> queries.Resolved:
    """The deployment and the version it means now, None if it means none. Raises NotFound."""
    found = await queries.resolved_one(session, name)
    if found is None:
        raise NotFound("deployment_not_found", "There is no such deployment.")
    return found


async def list_resolved(session: AsyncSession) -> tuple[list[queries.Resolved], list[str]]:
    """By name, as many as may be told at once; and the names of those whose signatures leave no room for them."""
    found = await queries.resolved(session, MAX_DEPLOYMENTS, MAX_SNAPSHOT_BYTES)
    left_out = (await queries.names(session, MAX_DEPLOYMENTS))[len(found.items) :] if found.more else []
    return found.items, list(left_out)


async def signature_bytes(session: AsyncSession) -> int:
    """What the signatures and classes of all deployments take together."""
    return (await queries.totals(session))[1]


async def resolved_page(session: AsyncSession, page_size: int, after: str | None) -> Cut[queries.Resolved]:
    """A page for people; by name, those after the name ``after``."""
    return await queries.resolved_page(session, page_size, after)


async def delete(session: AsyncSession, name: str, who: str) -> None:
    """Stop serving under ``name``. Its predictions and its history stay. Raises NotFound."""
    deployment = await queries.lock(session, name)
    if deployment is None:
        raise NotFound("deployment_not_found", "There is no such deployment.")
    await _repin(session, deployment, None)
    _remember(session, deployment, "deleted", who)
    await session.delete(deployment)


async def history(session: AsyncSession, name: str, limit: int, before: int | None) -> Sequence[DeploymentEvent]:
    """Changes of a deployment, newest first, a deleted one's too. Raises NotFound for a name that never was."""
    found = await queries.events_page(session, name, limit, before)
    if not found and before is None:
        raise NotFound("deployment_not_found", "There is no such deployment.")
    return found


async def status(session: AsyncSession, name: str) -> DeploymentStatus:
    """Where the deployment stands on the model servers heard of lately. Raises NotFound."""
    _, version = await get_resolved(session, name)
    wanted = (version.model_name, version.number) if version else None
    found = await queries.on_servers(session, name, utc_now() - SERVERS_ARE_GONE_AFTER)
    servers = [_on_server(*one) for one in found]
    return DeploymentStatus(
        name=name,
        state=state_of(wanted, servers),
        model_name=wanted[0] if wanted else None,
        model_version=wanted[1] if wanted else None,
        servers=servers,
    )


async def take_report(session: AsyncSession, report: ServerReport) -> None:
    """Store what a model server says about itself."""
    await queries.store_report(session, report.server_id, report.model_dump(mode="json"), utc_now())


def _on_server(server_id: str, seen_at: datetime, item: dict[str, Any]) -> ServerStatus:
    shared: dict[str, Any] = LoadStatus.model_validate(item).model_dump(exclude={"name", "wanted_version"})
    return ServerStatus(server_id=server_id, seen_at=seen_at, **shared)


def _check_servable(version: ModelVersion) -> None:
    inputs = version.signature.get("inputs") or []
    if not inputs or any("name" not in column or column.get("type") == "tensor" for column in inputs):
        raise Unsupported("signature_unsupported", "Only models whose signature names their input columns are served.")


async def _check_room(session: AsyncSession) -> None:
    """Raises Conflict for one deployment too many, or for one whose signature does not fit beside the others'."""
    count, size_bytes = await queries.totals(session)
    if count > MAX_DEPLOYMENTS:
        raise Conflict("too_many_deployments", f"There are {MAX_DEPLOYMENTS} deployments, the most there can be.")
    if size_bytes > MAX_SNAPSHOT_BYTES:
        limit = format_size(MAX_SNAPSHOT_BYTES)
        raise Conflict("signatures_too_large", f"The signatures of all deployments together would pass {limit}.")


def _change(deployment: Deployment, target: dict[str, Any], who: str) -> bool:
    if all(getattr(deployment, name) == value for name, value in target.items()):
        return False
    for name, value in target.items():
        setattr(deployment, name, value)
    deployment.updated_at, deployment.updated_by = utc_now(), who
    return True


async def _repin(session: AsyncSession, deployment: Deployment, version: ModelVersion | None) -> None:
    """A version named by its number is kept by us; one that an alias points to is kept by the alias."""
    dependent = f"deployment/{deployment.name}"
    await registry.unpin_all(session, dependent)
    if version is not None and deployment.number is not None:
        await registry.pin(session, version.id, dependent)


def _remember(
    session: AsyncSession, deployment: Deployment, kind: Literal["created", "changed", "deleted"], who: str
) -> None:
    event = DeploymentEvent(
        id=ids.new_id(_EVENT),
        deployment=deployment.name,
        kind=kind,
        reference=None if kind == "deleted" else deployment.reference,
        who=who,
        at=utc_now(),
        request_id=current_request_id(),
    )
    session.add(event)
