"""What every transport needs of its process, and what all their answers share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Depends, Request, Response

from tidemill.auth.access import RequiredScope
from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope
from tidemill.kit.logging import current_request_id
from tidemill.model_server.access import KeyRing
from tidemill.model_server.dataplane import DataPlane
from tidemill.model_server.idempotency import RequestKey, request_key
from tidemill.model_server.models import ModelTable, ServedModel
from tidemill.model_server.recording import Asker, PredictedRows
from tidemill.model_server.rendering import object_bytes
from tidemill.model_server.transports.json_pieces import LARGE_BYTES, LargeJson, parse_piece
from tidemill.model_server.transports.sizes import parsed_at_once_bytes
from tidemill.schemas.serving import DeploymentSpec
from tidemill.web.request_memory import MemoryShare, memory_of

T = TypeVar("T")
_ROWS_ON_THE_LOOP = 2_000


@dataclass(frozen=True)
class Serving:
    """Built by main, handed to the transports."""

    data_plane: DataPlane
    models: ModelTable
    keys: KeyRing


def get_serving(request: Request) -> Serving:
    serving = request.app.state.serving
    assert isinstance(serving, Serving)
    return serving


ServingDep = Annotated[Serving, Depends(get_serving)]


Caller = Annotated[Principal, Depends(RequiredScope(Scope.PREDICT))]


def asker(principal: Principal) -> Asker:
    return Asker(principal.key_id, current_request_id())


def parsed_json(body: bytes, memory: MemoryShare) -> Any:
    """A body that is parsed at once. Raises what `parse_piece` does, and what ``memory`` does where it has no room."""
    memory.take(parsed_at_once_bytes(body))
    return parse_piece(body, memory.take)


async def repeatable(request: Request, body: bytes, serving: Serving) -> RequestKey | None:
    """The key of a request that may be sent more than once, which is made of its whole body."""
    if len(body) <= LARGE_BYTES:
        return request_key(request, body)
    return await serving.data_plane.background.run(lambda: request_key(request, body))


async def read_json(
    request: Request, body: bytes, serving: Serving, served: ServedModel, read: Callable[[Any], T]
) -> T:
    """What ``read`` makes of the parsed body. Large ones are parsed piece by piece in the background."""
    memory = memory_of(request)
    if len(body) <= LARGE_BYTES:
        return read(parsed_json(body, memory))
    columns, max_rows = served.columns, serving.data_plane.max_rows
    return await serving.data_plane.background.run(
        lambda: read(LargeJson(body, columns, max_rows, memory.take).content())
    )


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def answered(serving: Serving, rows: PredictedRows, reply: Callable[[PredictedRows], dict[str, Any]]) -> Response:
    """The answer to a prediction, written in the background, piece by piece, where it is large."""
    if len(rows.outputs) <= _ROWS_ON_THE_LOOP and not rows.is_large:
        return answer(rows.spec, reply(rows))
    return await serving.data_plane.background.run(lambda: _response(rows.spec, object_bytes(reply(rows))))


def answer(spec: DeploymentSpec, body: Any) -> Response:
    return _response(spec, orjson.dumps(body))


def _response(spec: DeploymentSpec, body: bytes) -> Response:
    headers = {"X-Model-Name": spec.model_name, "X-Model-Version": str(spec.model_version)}
    return Response(body, media_type="application/json", headers=headers)
