"""Who may reach MLflow. It knows no keys itself, so that is settled before it sees a request.

The platform's own processes, and Nginx, show a token that is kept in a file and compared here: they go on while the api
restarts. Everybody else shows an API key, about which the api is asked. Nothing is open but ``/health``.
"""

import asyncio
import hashlib
import hmac
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tidemill.auth.keys import read_token, token_of_header
from tidemill.features.sessions.access import Access, Area
from tidemill.features.sessions.origin import require_same_origin
from tidemill.kit.errors import Forbidden, Malformed, TidemillError, Unauthenticated, Unavailable
from tidemill.web.connections import caller_is_known
from tidemill.web.problems import MEDIA_TYPE, problem_body, status_of

READ_POSTS = (
    "datasets/search",
    "experiments/search",
    "experiments/search-datasets",
    "issues/search",
    "logged-models/search",
    "prompt-optimization/jobs/search",
    "registered-models/get-latest-versions",
    "runs/search",
    "traces/batchGetInfos",
    "traces/calculate-filter-correlation",
    "traces/metrics",
    "traces/search",
)
"""MLflow's POSTs that change nothing; Nginx has the same list, and a test compares them."""
ACCESS_HEADER = "x-tidemill-access"
"""What Nginx has asked the api about: it says for others what its own token would allow."""
_READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_API = r"/(ajax-)?api/[0-9.]+/?mlflow/"
_READ_POST = re.compile(rf"{_API}({'|'.join(READ_POSTS)})|/graphql")
_WRITE_GET = re.compile(rf"{_API}gateway-proxy")
"""Calls another server with what it is given."""
_OPEN_PATH = "/health"
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="tidemill", charset="UTF-8"'}
"""Browsers ask for a password, which is the key; programs send it unasked."""
_MLFLOW_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    413: "INVALID_PARAMETER_VALUE",
}
_KEPT_SECONDS = 2.0
_MOST_KEPT = 1024
_MOST_AT_ONCE = 8
_MOST_WAITING = 128
_ASK_TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class AccessRules:
    """own_token: of the platform's processes. api_url: where keys are known. environment: that keys must be of."""

    own_token: str
    api_url: str
    environment: str


def access_to(method: str, path: str) -> Access:
    """What a request does. Reads are a closed list, everything else is a write; ``path`` as MLflow sees it."""
    if method in _READ_METHODS:
        return Access.WRITE if _WRITE_GET.fullmatch(path) else Access.READ
    return Access.READ if method == "POST" and _READ_POST.fullmatch(path) else Access.WRITE


class MlflowAccessMiddleware:
    """The outermost layer around MLflow: 401, 403 or 503 before a byte of the body is read."""

    def __init__(self, app: ASGIApp, rules: AccessRules, http: httpx.AsyncClient | None = None) -> None:
        self._app = app
        self._own_sha256 = _digest(rules.own_token)
        self._keys = KeysOfApi(rules, http)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            await self._keys.close()
        elif scope["type"] != "http":  # MLflow has no WebSocket
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._checked(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            _require_readable(scope)
            if scope["path"] != _OPEN_PATH or scope["method"] not in _READ_METHODS:
                await self._require(scope)
                caller_is_known(scope)
        except TidemillError as error:
            await refusal(error, scope["path"])(scope, receive, send)
        else:
            await self._app(_without_credentials(scope), receive, send)

    async def _require(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if len(headers.getlist("authorization")) > 1:  # our own server refuses it; another in its place might not
            raise Unauthenticated("key_malformed", "There is more than one Authorization header.")
        token = token_of_header(headers.get("authorization"))
        access = access_to(scope["method"], scope["path"])
        if hmac.compare_digest(_digest(token), self._own_sha256):
            if headers.get(ACCESS_HEADER, Access.WRITE) != Access.WRITE and access is Access.WRITE:
                raise Forbidden("scope_missing", "The key lacks the scope mlflow:write.")
            return
        if access is Access.WRITE:
            require_same_origin(Request(scope))  # a browser sends a remembered password unasked
        await self._keys.require(token, access)


class KeysOfApi:
    """Asks the api what a key may do. An answer holds for two seconds: so long a revoked key may still be used."""

    def __init__(self, rules: AccessRules, http: httpx.AsyncClient | None = None) -> None:
        self._environment = rules.environment
        self._http = http or httpx.AsyncClient(base_url=rules.api_url, timeout=_ASK_TIMEOUT_SECONDS, trust_env=False)
        self._kept: OrderedDict[tuple[str, Access], tuple[float, TidemillError | None]] = OrderedDict()
        self._room = asyncio.Semaphore(_MOST_AT_ONCE)
        self._waiting = 0

    async def require(self, token: str, access: Access) -> None:
        """Raises Unauthenticated, Forbidden without the scope for ``access``, Unavailable if the api is away."""
        read_token(token, self._environment)  # what cannot be a key costs the api nothing
        asked = _digest(token), access
        if not self._is_known(asked):
            if self._waiting >= _MOST_WAITING:
                raise Unavailable("access_busy", "Too many keys are being asked about at once.")
            self._waiting += 1
            try:
                async with self._room:
                    if not self._is_known(asked):  # else it was answered meanwhile
                        self._keep(asked, await self._ask(token, access))
            finally:
                self._waiting -= 1
        verdict = self._kept[asked][1]
        if verdict is not None:
            raise verdict

    async def close(self) -> None:
        await self._http.aclose()

    def _is_known(self, asked: tuple[str, Access]) -> bool:
        return asked in self._kept and time.monotonic() - self._kept[asked][0] < _KEPT_SECONDS

    def _keep(self, asked: tuple[str, Access], verdict: TidemillError | None) -> None:
        self._kept[asked] = time.monotonic(), verdict
        self._kept.move_to_end(asked)
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)

    async def _ask(self, token: str, access: Access) -> TidemillError | None:
        """None if the key may; what to refuse with if not."""
        question: Mapping[str, str] = {"area": Area.MLFLOW, "access": access}
        try:
            answer = await self._http.get(
                "/api/v1/session", params=question, headers={"Authorization": f"Bearer {token}"}
            )
        except httpx.HTTPError as error:
            raise _away() from error
        if answer.status_code == 204:
            return None
        if answer.status_code == 401:
            return Unauthenticated("key_rejected", "The API key is unknown, revoked or expired.")
        if answer.status_code == 403:
            return Forbidden("scope_missing", f"The key lacks the scope mlflow:{access}.")
        raise _away()


def _away() -> Unavailable:
    return Unavailable("access_unknown", "The api, which knows the keys, does not answer.")


def refusal(error: TidemillError, path: str) -> JSONResponse:
    """Problem details, with the members that MLflow's own clients show."""
    status = status_of(error)
    code = _MLFLOW_CODES.get(status, "TEMPORARILY_UNAVAILABLE")
    body: dict[str, Any] = {**problem_body(error, status, path), "error_code": code, "message": error.detail}
    headers = {401: _CHALLENGE, 503: {"Retry-After": "2"}}.get(status)
    return JSONResponse(body, status, headers=headers, media_type=MEDIA_TYPE)


def _require_readable(scope: Scope) -> None:
    """Raise Malformed for a name of the server that is no name: MLflow fails at it before it compares it."""
    if not Headers(scope=scope).get("host", "").isascii():
        raise Malformed("host_malformed", "The Host header is no name of a server.")


def _without_credentials(scope: Scope) -> Scope:
    """MLflow sees no key, nor what only Nginx may say."""
    dropped = (b"authorization", ACCESS_HEADER.encode())
    return {**scope, "headers": [(name, value) for name, value in scope["headers"] if name.lower() not in dropped]}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
