"""What other features may ask of the registry: register, resolve, pin, move aliases."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.adapters.bundles import bundle_key
from tidemill.db.tables.registry import AliasEvent, Model, ModelAlias, ModelVersion, ModelVersionPin
from tidemill.features.registry import dataset_link, queries
from tidemill.features.registry.kinds import GATE, MIRROR, GatePayload, MirrorPayload
from tidemill.features.registry.states import CHALLENGER, CHAMPION, MAX_ALIASES, Move
from tidemill.jobs import service as jobs
from tidemill.jobs.states import JobStatus
from tidemill.kit import ids
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Conflict, Invalid, NotFound, TooLarge
from tidemill.kit.limits import MAX_SIGNATURE_BYTES
from tidemill.kit.logging import current_request_id
from tidemill.kit.names import split_model_reference
from tidemill.kit.sizes import format_size
from tidemill.schemas.jobs import JobFilter
from tidemill.schemas.registry import GatePolicy

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class NewModelVersion:
    """A trained model whose bundle and holdout are in the object store already.

    job_id: registering twice for one job gives the first version again. metrics: ``{name: {"value", "low", "high"}}``.
    warnings: ``{"code", "severity": "info" | "warning" | "error", "detail"}``; one of severity error fails the gate.
    code_allowed_by: who allowed a format that runs code when it is loaded.
    """

    model_name: str
    created_by: str
    job_id: str
    flavor: str
    signature: dict[str, Any]
    bundle_sha256: str
    bundle_size_bytes: int
    source: str = "training"
    task: str | None = None
    target: str | None = None
    classes: list[Any] | None = None
    metric: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    holdout_key: str | None = None
    dataset_version_id: str | None = None
    mlflow_run_id: str | None = None
    mlflow_model_uri: str | None = None
    code_allowed_by: str | None = None


@dataclass(frozen=True)
class Cause:
    """Why an alias moves: what the history keeps beside the move itself."""

    who: str
    why: str
    kind: Move = Move.SET
    decision_id: str | None = None
    request_id: str | None = field(default_factory=current_request_id)


async def register_version(session: AsyncSession, new: NewModelVersion) -> ModelVersion:
    """Store the next version of a model, point ``challenger`` at it and ask the gate, all in this transaction."""
    await queries.create_model_if_missing(session, new.model_name, GatePolicy().model_dump(mode="json"), new.created_by)
    if len(json.dumps([new.signature, new.classes])) > MAX_SIGNATURE_BYTES:
        limit = format_size(MAX_SIGNATURE_BYTES)
        raise TooLarge("signature_too_large", f"Signature and classes of a model take at most {limit}.")
    model = await locked_model(session, new.model_name)
    earlier = await queries.version_of_job(session, new.job_id)
    if earlier is not None:
        return earlier
    model.last_number += 1
    version = ModelVersion(
        id=ids.new_id(ids.MODEL_VERSION), model_id=model.id, number=model.last_number, created_at=utc_now(), **vars(new)
    )
    session.add(version)
    await session.flush()
    await dataset_link.pin(session, version)
    await move_alias(session, model, CHALLENGER, version.number, Cause(new.created_by, "Registered", Move.REGISTERED))
    await ask_gate(session, version, GatePayload(model_name=model.name, number=version.number, purpose="registration"))
    return version


async def ask_gate(session: AsyncSession, version: ModelVersion, payload: GatePayload, who: str | None = None) -> str:
    """Enqueue the gate's job and return its id."""
    request = jobs.JobRequest(
        principal=who or version.created_by, subject=f"model/{payload.model_name}", priority=jobs.SOON
    )
    return (await jobs.enqueue(session, GATE, payload, request)).id


async def resolve(session: AsyncSession, reference: str) -> ModelVersion:
    """The version that ``name@alias``, ``name:3`` or ``name`` (its champion) means now.

    Raises Invalid for anything else and NotFound for a model, alias or version that does not exist.
    """
    parts = split_model_reference(reference)
    if parts is None:
        raise Invalid("model_reference_invalid", "A model is named like name@alias, name:3 or name.")
    name, alias, number = parts
    model = await get_model(session, name)
    if number is None:
        pointer = await queries.alias(session, model.id, alias or CHAMPION)
        if pointer is None:
            raise NotFound("alias_not_found", f"The model has no alias {alias or CHAMPION}.")
        number = pointer.number
    return await get_version(session, model, number)


async def get_model(session: AsyncSession, name: str) -> Model:
    model = await queries.model_named(session, name)
    if model is None:
        raise NotFound("model_not_found", "There is no such model.")
    return model


async def locked_model(session: AsyncSession, name: str) -> Model:
    """The model, locked until the transaction ends, so that moves of its aliases happen one after another."""
    model = await queries.lock_model(session, name)
    if model is None:
        raise NotFound("model_not_found", "There is no such model.")
    return model


async def get_version(session: AsyncSession, model: Model, number: int) -> ModelVersion:
    """Raises NotFound for a number that never was (``model_version_not_found``) or was deleted."""
    version = await queries.version(session, model.id, number)
    if version is None:
        raise NotFound("model_version_not_found", "The model has no such version.")
    if version.deleted_at is not None:
        raise NotFound("model_version_deleted", "This version was deleted.")
    return version


async def find_version(session: AsyncSession, model_name: str, number: int) -> ModelVersion | None:
    """A version, deleted or not, since predictions and history refer to both; None if it never was."""
    model = await queries.model_named(session, model_name)
    return None if model is None else await queries.version(session, model.id, number)


async def alias_number(session: AsyncSession, model: Model, alias: str) -> int | None:
    pointer = await queries.alias(session, model.id, alias)
    return pointer.number if pointer else None


async def move_alias(
    session: AsyncSession, model: Model, alias: str, to_version: int | None, cause: Cause
) -> AliasEvent:
    """Point ``alias`` at a version, or remove it (None), and append that to the history in the same transaction.

    Locks the model. Raises Conflict (``alias_unmoved``) if the alias is there already, NotFound for a missing version.
    """
    await queries.lock_model(session, model.name)
    if to_version is not None:
        await get_version(session, model, to_version)
    pointer = await queries.alias(session, model.id, alias)
    before = pointer.number if pointer else None
    if before == to_version:
        raise Conflict("alias_unmoved", f"The alias {alias} is there already.")
    event = AliasEvent(
        id=ids.new_id(ids.ALIAS_EVENT),
        model_id=model.id,
        alias=alias,
        from_number=before,
        to_number=to_version,
        moved_at=await _next_moment(session, model.id),
        **vars(cause),
    )
    is_free = alias in (CHAMPION, CHALLENGER)  # what every model must be able to have
    if pointer is None and not is_free and await queries.count_aliases(session, model.id) >= MAX_ALIASES:
        raise Conflict("too_many_aliases", f"A model has at most {MAX_ALIASES} aliases; remove one first.")
    await _point(session, event, pointer)
    session.add(event)
    await session.flush()
    await _ask_mirror(session, model, event)
    return event


async def _ask_mirror(session: AsyncSession, model: Model, event: AliasEvent) -> None:
    """Have MLflow told, unless it knows neither version, or a job that waits will see this move too."""
    numbers = [number for number in (event.from_number, event.to_number) if number is not None]
    if not await queries.any_in_mlflow(session, model.id, numbers):
        return
    subject = f"model/{model.name}"
    waiting = JobFilter(kind=MIRROR.kind, status=JobStatus.QUEUED, subject=subject)
    if not (await jobs.list_page(session, waiting, 1)).items:
        request = jobs.JobRequest(principal=event.who, request_id=event.request_id, subject=subject)
        await jobs.enqueue(session, MIRROR, MirrorPayload(model_name=model.name), request)


async def pin(session: AsyncSession, version_id: str, dependent: str) -> None:
    """Keep a version from being deleted while ``dependent``, such as ``deployment/adult-income``, needs it."""
    await queries.pin(session, version_id, dependent)


async def unpin(session: AsyncSession, version_id: str, dependent: str) -> None:
    """Take a pin back; no error if there is none."""
    await session.execute(
        delete(ModelVersionPin).where(
            ModelVersionPin.model_version_id == version_id, ModelVersionPin.dependent == dependent
        )
    )


async def unpin_all(session: AsyncSession, dependent: str) -> None:
    """Take back every pin of ``dependent``."""
    await session.execute(delete(ModelVersionPin).where(ModelVersionPin.dependent == dependent))


async def aliases_by_model(session: AsyncSession, model_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {model_id: {} for model_id in model_ids}
    for pointer in await queries.aliases(session, model_ids):
        found[pointer.model_id][pointer.alias] = pointer.number
    return found


async def _point(session: AsyncSession, event: AliasEvent, pointer: ModelAlias | None) -> None:
    if event.to_number is None:
        assert pointer is not None
        await session.delete(pointer)
        return
    if pointer is None:
        pointer = ModelAlias(model_id=event.model_id, alias=event.alias)
        session.add(pointer)
    pointer.number, pointer.moved_at, pointer.moved_by = event.to_number, event.moved_at, event.who


async def _next_moment(session: AsyncSession, model_id: str) -> datetime:
    """Now, but after the model's last move, so that the history stays in order when a clock steps back."""
    last = await queries.last_moved_at(session, model_id)
    now = utc_now()
    return now if last is None or now > last else last + _TICK


async def newest_keys(session: AsyncSession, limit: int) -> list[str]:
    """Objects that the newest versions need, at most ``limit``: by them a store is known to be the right one."""
    return [bundle_key(sha256) for sha256 in await queries.newest_bundles(session, limit)]
