"""``Idempotency-Key`` on predictions: the same request sent again is the same predictions, not more of them.

A model server shares nothing with its replicas, so it stores no answers. Instead the ids of the predictions follow from
the key, the caller, the request, the model version and the answer: whichever replica answers, and however often, the
ledger holds each row once. Another request or another answer under the same key gets other ids.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import Request

from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Invalid
from tidemill.model_server.rendering import list_pieces
from tidemill.schemas.serving import DeploymentSpec
from tidemill.web.routing import target_of

HEADER = "idempotency-key"
_TOLERANCE_MILLISECONDS = 60 * 60 * 1000
_MOMENT = re.compile(r"(?P<seconds>[0-9]{10})\.(?P<milliseconds>[0-9]{3})-[A-Za-z0-9._-]{8,128}")
_UUID7 = re.compile(r"(?P<head>[0-9a-f]{8})-?(?P<tail>[0-9a-f]{4})-?7[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class RequestKey:
    """One request, however often it is sent: the moment that its key names, and a digest of key and content."""

    milliseconds: int
    digest: bytes

    def randomness(self, principal: str, spec: DeploymentSpec, outputs: Sequence[Any], size_bytes: int) -> bytes:
        """What an id is made of instead of random bytes: the same for the same caller, version and answer."""
        who = [principal, spec.name, spec.model_name, spec.model_version]
        digest = hashlib.shake_256(self.digest)
        digest.update(orjson.dumps(who))
        for piece in list_pieces(outputs):
            digest.update(piece)
        return digest.digest(size_bytes)


def request_key(request: Request, body: bytes) -> RequestKey | None:
    """None without the header. Raises Invalid if it is not well-formed or names a moment that is not now."""
    presented = request.headers.get(HEADER)
    if presented is None:
        return None
    milliseconds = _moment(presented)
    if abs(utc_now().timestamp() * 1000 - milliseconds) > _TOLERANCE_MILLISECONDS:
        detail = "The moment that the Idempotency-Key names is more than an hour from the server's clock."
        raise Invalid("idempotency_key_invalid", detail)
    parts = [presented, *target_of(request), hashlib.sha256(body).hexdigest()]
    return RequestKey(milliseconds, hashlib.sha256(orjson.dumps(parts)).digest())


def _moment(key: str) -> int:
    """Unix milliseconds: a prediction's id names its moment, which a repetition must not change."""
    if found := _MOMENT.fullmatch(key):
        return int(found["seconds"]) * 1000 + int(found["milliseconds"])
    if found := _UUID7.fullmatch(key.lower()):
        return int(found["head"] + found["tail"], 16)
    detail = "The Idempotency-Key of a prediction is a UUIDv7, or <Unix seconds>.<milliseconds>-<8 to 128 characters>."
    raise Invalid("idempotency_key_invalid", detail)
