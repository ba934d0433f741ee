"""Routes of models, their versions, aliases and decisions."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope
from tidemill.deps import ServicesDep, SessionDep, require
from tidemill.features.jobs.service import JobRoom, room_for_job
from tidemill.features.registry import administration, promotion, queries, service, views
from tidemill.features.registry.kinds import COMPARE, IMPORT, ComparePayload, ImportPayload
from tidemill.jobs.service import SOON, JobRequest, enqueue
from tidemill.kit.clock import utc_now
from tidemill.kit.names import NAME_PATTERN
from tidemill.schemas import registry as wire
from tidemill.schemas.base import IN_DIGITS, Moment
from tidemill.schemas.page import Page, PageQuery, encode_token
from tidemill.web.document import ENTITY_TAG, JOB_LOCATION

router = APIRouter(prefix="/api/v1/models", tags=["models"])
Reader = Annotated[Principal, Depends(require(Scope.MODELS_READ))]
Writer = Annotated[Principal, Depends(require(Scope.MODELS_WRITE))]
ModelName = Annotated[str, Path(pattern=NAME_PATTERN)]
Alias = Annotated[str, Path(pattern=wire.ALIAS_PATTERN)]
Number = Annotated[int, Path(ge=1, le=999_999_999), IN_DIGITS]
_IN_A_JOB: dict[int | str, dict[str, Any]] = {202: {"headers": JOB_LOCATION}}
_TAGGED: dict[int | str, dict[str, Any]] = {200: {"headers": ENTITY_TAG}}
PageDep = Annotated[PageQuery, Query()]


@router.get("", operation_id="models_list")
async def list_models(page: PageDep, session: SessionDep, _principal: Reader) -> Page[wire.ModelSummary]:
    """Models by name, each with its aliases and its champion."""
    found = await queries.models_page(session, page.page_size, page.after_text())
    more = encode_token([found.items[-1].name]) if found.more else None
    return Page[wire.ModelSummary](items=await views.summaries(session, found.items), next_page_token=more)


@router.get("/{name}", operation_id="models_get")
async def get_model(name: ModelName, session: SessionDep, _principal: Reader) -> wire.ModelSummary:
    """One model. 404 if there is none of this name."""
    return (await views.summaries(session, [await service.get_model(session, name)]))[0]


@router.get("/{name}/versions", operation_id="models_versions_list")
async def list_versions(
    name: ModelName, page: PageDep, session: SessionDep, _principal: Reader
) -> Page[wire.ModelVersion]:
    """Versions that were not deleted, newest first."""
    model = await service.get_model(session, name)
    found = await queries.versions_page(session, model.id, page.page_size, page.after_number())
    more = encode_token([found.items[-1].number]) if found.more else None
    return Page[wire.ModelVersion](items=await views.version_views(session, found.items), next_page_token=more)


@router.post(
    "/{name}/versions:import",
    operation_id="models_versions_import",
    status_code=202,
    responses=_IN_A_JOB,
    dependencies=[JobRoom],
)
async def import_version(
    name: ModelName, body: wire.ImportModel, session: SessionDep, response: Response, principal: Writer
) -> wire.JobStarted:
    """Register a model that MLflow holds, of any flavour, as the next version. The job's result names it.

    With ``evaluation`` the key needs ``datasets:read`` too: the model sees the rows, and what it prints is in the job's
    log.
    """
    if body.evaluation is not None:
        principal.require(Scope.DATASETS_READ)
    request = JobRequest(principal=principal.key_id, subject=f"model/{name}", priority=SOON)
    job = await enqueue(session, IMPORT, ImportPayload(model_name=name, request=body), request)
    return _started(response, job.id)


@router.get("/{name}/versions/{number}", operation_id="models_versions_get")
async def get_version(name: ModelName, number: Number, session: SessionDep, _principal: Reader) -> wire.ModelVersion:
    """One version, a deleted one too: history and predictions refer to it."""
    return await views.version_view(session, await administration.any_version(session, name, number))


@router.delete("/{name}/versions/{number}", operation_id="models_versions_delete")
async def delete_version(name: ModelName, number: Number, session: SessionDep, principal: Writer) -> wire.ModelVersion:
    """Delete a version. 409 while an alias or a deployment points to it."""
    return await views.version_view(
        session, await administration.delete_version(session, name, number, principal.key_id)
    )


@router.get("/{name}/decisions", operation_id="models_decisions_list")
async def list_decisions(
    name: ModelName, page: Annotated[wire.DecisionQuery, Query()], session: SessionDep, _principal: Reader
) -> Page[wire.GateDecision]:
    """What the gate decided, newest first, with every number it looked at."""
    model = await service.get_model(session, name)
    found = await queries.decisions_page(session, model.id, page.version, page.page_size, page.after_text())
    items = [wire.GateDecision.model_validate(row) for row in found.items]
    more = encode_token([items[-1].id]) if found.more else None
    return Page[wire.GateDecision](items=items, next_page_token=more)


@router.get("/{name}/policy", operation_id="models_policy_get", responses=_TAGGED)
async def get_policy(name: ModelName, session: SessionDep, response: Response, _principal: Reader) -> wire.Policy:
    """The gate's policy; its revision is also the ``ETag``."""
    return _policy(await administration.policy(session, name), response)


@router.put("/{name}/policy", operation_id="models_policy_put", responses=_TAGGED)
async def put_policy(
    name: ModelName,
    body: wire.GatePolicy,
    session: SessionDep,
    response: Response,
    _principal: Writer,
    if_match: Annotated[str | None, Header()] = None,
) -> wire.Policy:
    """Replace the policy. With ``If-Match`` only if it is still the one that was read (412 otherwise)."""
    return _policy(await administration.set_policy(session, name, body, if_match), response)


@router.get("/{name}/history", operation_id="models_history_list")
async def list_history(
    name: ModelName, page: Annotated[wire.HistoryQuery, Query()], session: SessionDep, _principal: Reader
) -> Page[wire.AliasEvent]:
    """Every move of an alias, newest first."""
    model = await service.get_model(session, name)
    found = await queries.events_page(session, model.id, page.alias, page.page_size + 1, page.after_number())
    items = found[: page.page_size]
    more = encode_token([items[-1].seq]) if len(found) > page.page_size else None
    return Page[wire.AliasEvent](items=await views.event_views(session, items), next_page_token=more)


@router.get("/{name}/aliases", operation_id="models_aliases_get")
async def get_aliases(
    name: ModelName, session: SessionDep, _principal: Reader, at: Annotated[Moment | None, Query()] = None
) -> wire.AliasState:
    """Where the aliases point, or pointed at the moment ``at``."""
    model = await service.get_model(session, name)
    moment: datetime = at or utc_now()
    events = await queries.state_at(session, model.id, moment)
    return wire.AliasState(model_name=name, at=moment, aliases=await views.event_views(session, events))


@router.put("/{name}/aliases/{alias}", operation_id="models_aliases_set")
async def set_alias(
    name: ModelName, alias: Alias, body: wire.AliasSet, session: SessionDep, principal: Writer
) -> wire.AliasEvent:
    """Point an alias at a version. 409 for ``champion``, which only a promotion moves, and if it is there already."""
    event = await administration.set_alias(session, name, alias, body, principal.key_id)
    return await views.event_view(session, event)


@router.delete("/{name}/aliases/{alias}", operation_id="models_aliases_delete")
async def delete_alias(name: ModelName, alias: Alias, session: SessionDep, principal: Writer) -> wire.AliasEvent:
    """Remove an alias. 409 for ``champion``, 404 if there is none."""
    event = await administration.delete_alias(session, name, alias, principal.key_id)
    return await views.event_view(session, event)


@router.post(
    "/{name}:promote",
    operation_id="models_promote",
    responses={202: {"model": wire.Promotion, "description": "The gate is asked in a job", "headers": JOB_LOCATION}},
)
async def promote(
    name: ModelName,
    *,
    body: wire.Promote,
    request: Request,
    services: ServicesDep,
    session: SessionDep,
    response: Response,
    principal: Writer,
) -> wire.Promotion:
    """Make a version champion. 202 with a job when the gate has to be asked; 409 with its reasons when it said no."""
    if not body.force:
        await room_for_job(request, services)
    done = await promotion.promote(session, name, body, principal.key_id)
    if done.event is None:
        assert done.job_id is not None
        response.status_code = 202
        _started(response, done.job_id)
        return wire.Promotion(status="deciding", job_id=done.job_id)
    return wire.Promotion(status="promoted", event=await views.event_view(session, done.event))


@router.post("/{name}:rollback", operation_id="models_rollback")
async def rollback(name: ModelName, body: wire.Rollback, session: SessionDep, principal: Writer) -> wire.AliasEvent:
    """Make the champion before the present one champion again. 409 if there is none."""
    event = await promotion.rollback(session, name, principal.key_id, body.reason)
    return await views.event_view(session, event)


@router.post(
    "/{name}:compare", operation_id="models_compare", status_code=202, responses=_IN_A_JOB, dependencies=[JobRoom]
)
async def compare(
    name: ModelName, body: wire.Compare, session: SessionDep, response: Response, principal: Writer
) -> wire.JobStarted:
    """Score two versions on the same holdout rows in a job, whose result is a VersionComparison."""
    await administration.check_comparable(session, name, body)
    request = JobRequest(principal=principal.key_id, subject=f"model/{name}", priority=SOON)
    job = await enqueue(session, COMPARE, ComparePayload(model_name=name, request=body), request)
    return _started(response, job.id)


def _started(response: Response, job_id: str) -> wire.JobStarted:
    response.headers["Location"] = f"/api/v1/jobs/{job_id}"
    return wire.JobStarted(job_id=job_id)


def _policy(policy: wire.Policy, response: Response) -> wire.Policy:
    response.headers["ETag"] = f'"{policy.revision}"'
    return policy
