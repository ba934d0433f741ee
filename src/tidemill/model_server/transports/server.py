"""What every transport needs of its process, and what all their answers share."""

import json
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import Depends, Request, Response

from tidemill.auth.access import RequiredScope
from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope
from tidemill.kit.errors import Malformed
from tidemill.kit.json_shape import may_exceed_64_bits, text_bytes
from tidemill.kit.logging import current_request_id
from tidemill.model_server.access import KeyRing
from tidemill.model_server.dataplane import DataPlane
from tidemill.model_server.models import ModelTable
from tidemill.model_server.recording import Asker
from tidemill.model_server.transports.repeated import refuse_repeated
from tidemill.model_server.transports.sizes import json_bytes
from tidemill.schemas.serving import DeploymentSpec
from tidemill.web.request_memory import MemoryShare


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
    """Raises Malformed with the place, never the content; Invalid for two members of one name in an object; TooLarge or
    Unavailable where there is no memory for it."""
    memory.take(json_bytes(body))
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed("body_not_json", f"The body is not JSON (line {error.lineno}, column {error.colno}).") from None
    refuse_repeated(body, found)
    if not may_exceed_64_bits(body):
        return found
    del found  # in which integers of more than 64 bits have become floats
    memory.take(text_bytes(body))
    try:
        return json.loads(body)
    except RecursionError:
        raise Malformed("body_not_json", "The body nests too deeply.") from None


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def answer(spec: DeploymentSpec, body: Any) -> Response:
    headers = {"X-Model-Name": spec.model_name, "X-Model-Version": str(spec.model_version)}
    return Response(orjson.dumps(body), media_type="application/json", headers=headers)
