"""Routes of deployments."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope
from tidemill.auth.service import names_of
from tidemill.db.tables.deployments import Deployment as DeploymentRow
from tidemill.db.tables.registry import ModelVersion
from tidemill.deps import SessionDep, require
from tidemill.features.deployments import service
from tidemill.kit.names import Name
from tidemill.schemas.deployments import Deployment, DeploymentApply, DeploymentEvent, DeploymentStatus, ServedVersion
from tidemill.schemas.page import Page, PageQuery, encode_token

router = APIRouter(prefix="/api/v1/deployments", tags=["deployments"])
Reader = Annotated[Principal, Depends(require(Scope.DEPLOYMENTS_READ))]
Writer = Annotated[Principal, Depends(require(Scope.DEPLOYMENTS_WRITE))]
Paging = Annotated[PageQuery, Query()]


@router.put("/{name}", operation_id="deployments_apply", responses={201: {"model": Deployment}})
async def apply(
    name: Name, body: DeploymentApply, response: Response, session: SessionDep, principal: Writer
) -> Deployment:
    """Serve a model reference under this name: 201 if it is new, 200 otherwise; the same again changes nothing.

    Model servers pick it up within seconds; ``status`` tells when they have. 404 for an unknown model, alias or
    version, 415 for a model whose signature does not name its columns.
    """
    row, version, is_new = await service.apply(session, name, body.model, principal.key_id)
    response.status_code = 201 if is_new else 200
    return _shown(row, version)


@router.get("", operation_id="deployments_list")
async def list_deployments(page: Paging, session: SessionDep, _principal: Reader) -> Page[Deployment]:
    """Deployments by name."""
    found = await service.resolved_page(session, page.page_size, page.after_text())
    items = [_shown(row, version) for row, version in found.items]
    more = encode_token([items[-1].name]) if found.more else None
    return Page[Deployment](items=items, next_page_token=more)


@router.get("/{name}", operation_id="deployments_get")
async def get(name: Name, session: SessionDep, _principal: Reader) -> Deployment:
    """One deployment and the version it means now."""
    return _shown(*await service.get_resolved(session, name))


@router.get("/{name}/status", operation_id="deployments_status")
async def status(name: Name, session: SessionDep, _principal: Reader) -> DeploymentStatus:
    """Where the deployment stands on each model server."""
    return await service.status(session, name)


@router.get("/{name}/history", operation_id="deployments_history")
async def history(name: Name, page: Paging, session: SessionDep, _principal: Reader) -> Page[DeploymentEvent]:
    """Changes of a deployment, newest first, a deleted one's too."""
    found = await service.history(session, name, page.page_size + 1, page.after_number())
    items = found[: page.page_size]
    more = encode_token([items[-1].seq]) if len(found) > page.page_size else None
    names = await names_of(session, [event.who for event in items])
    events = [DeploymentEvent.model_validate(event) for event in items]
    for event in events:
        event.who_name = names.get(event.who)
    return Page[DeploymentEvent](items=events, next_page_token=more)


@router.delete("/{name}", operation_id="deployments_delete", status_code=204)
async def delete(name: Name, session: SessionDep, principal: Writer) -> None:
    """Stop serving under this name. Its predictions and its history stay."""
    await service.delete(session, name, principal.key_id)


def _shown(row: DeploymentRow, version: ModelVersion | None) -> Deployment:
    served = version and ServedVersion(
        model_name=version.model_name,
        model_version=version.number,
        flavor=version.flavor,
        task=version.task,
        target=version.target,
        classes=version.classes,
        signature=version.signature,
    )
    return Deployment(
        id=row.id,
        name=row.name,
        reference=row.reference,
        version=served,
        created_at=row.created_at,
        created_by=row.created_by,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
    )
