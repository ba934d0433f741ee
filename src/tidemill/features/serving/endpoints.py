"""Routes for model servers. Their keys carry the scope ``serving`` and nothing else."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Response
from fastapi.responses import StreamingResponse

from tidemill.adapters.bundles import bundle_key
from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope
from tidemill.deps import SessionDep, Standing, StoreDep, require, standing
from tidemill.features.serving import service
from tidemill.kit.etags import names_tag
from tidemill.kit.hashing import sha256_of_bytes
from tidemill.schemas.serving import Acknowledged, ServerReport, Snapshot
from tidemill.web.document import ENTITY_TAG

router = APIRouter(prefix="/api/v1/serving", tags=["serving"])
ServingPrincipal = Annotated[Principal, Depends(require(Scope.SERVING))]
ServingStanding = Annotated[Standing, Depends(standing(Scope.SERVING))]
Sha256 = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


@router.get(
    "/snapshot",
    operation_id="serving_snapshot",
    response_model=Snapshot,
    responses={
        200: {"headers": ENTITY_TAG},
        304: {"description": "Nothing changed since the given ETag", "headers": ENTITY_TAG},
    },
)
async def snapshot(
    session: SessionDep, _principal: ServingPrincipal, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """What to serve, and whose keys may ask. Send the last ``ETag`` as ``If-None-Match`` to get 304 for no change."""
    content = (await service.snapshot(session)).model_dump_json().encode()
    etag = f'"{sha256_of_bytes(content)}"'
    if if_none_match is not None and names_tag(if_none_match, etag, weak=True):
        return Response(status_code=304, headers={"ETag": etag})
    return Response(content, media_type="application/json", headers={"ETag": etag})


@router.get(
    "/bundles/{sha256}",
    operation_id="serving_bundle",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-tar": {}}, "headers": ENTITY_TAG}},
)
async def bundle(sha256: Sha256, store: StoreDep, holder: ServingStanding) -> StreamingResponse:
    """A model's files as a tar. 404 if there is no such bundle."""
    key = bundle_key(sha256)
    size_bytes = await store.size(key)
    headers = {"Content-Length": str(size_bytes), "ETag": f'"{sha256}"'}
    return StreamingResponse(holder.holding(store.stream(key)), media_type="application/x-tar", headers=headers)


@router.post("/status", operation_id="serving_status")
async def status(report: ServerReport, session: SessionDep, _principal: ServingPrincipal) -> Acknowledged:
    """A model server says what it serves, what it could not load, and which keys were used."""
    await service.take_report(session, report)
    return Acknowledged()
