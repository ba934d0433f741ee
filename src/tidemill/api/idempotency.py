"""``Idempotency-Key`` on creating requests: the same request again gets the stored answer, and nothing happens twice.

The key belongs to its caller. Other content under the same key is refused (422), a request still in flight too (409).
Answers that say "try again" or "who are you" are not stored. Uploads are idempotent by their content instead, and a new
API key is never stored anywhere.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.keys import IDEMPOTENCY_KEYS_KEPT, IdempotencyKey
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Conflict, Invalid
from tidemill.web.database_problems import of_database
from tidemill.web.problems import problem_response
from tidemill.web.routing import target_of

HEADER = "idempotency-key"
_LONGEST_KEY = 255
_IN_FLIGHT_AT_MOST = timedelta(minutes=10)
_KEPT_HEADERS = ("content-type", "location", "etag")
_NOT_FINAL = frozenset({401, 403, 408, 413, 425, 429})


class IdempotencyMiddleware:
    def __init__(self, app: ASGIApp, sessions: SessionFactory, except_paths: Sequence[str]) -> None:
        self.app = app
        self._sessions = sessions
        self._except = tuple(except_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = Headers(scope=scope).get(HEADER) if scope["type"] == "http" and scope["method"] == "POST" else None
        if key is None or self._excepted(scope["path"]):
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            answer = await self._answer(request, key)
        except (Conflict, Invalid) as error:
            answer = problem_response(error, request)
        except Exception as error:
            if (away := of_database(error)) is None:
                raise
            answer = problem_response(away, request)
        await answer(scope, receive, send)

    def _excepted(self, path: str) -> bool:
        return any(path.startswith(prefix) for prefix in self._except)

    async def _answer(self, request: Request, key: str) -> Response:
        if not 0 < len(key) <= _LONGEST_KEY:
            raise Invalid("idempotency_key_invalid", f"An Idempotency-Key has 1 to {_LONGEST_KEY} characters.")
        body = await request.body()
        row = IdempotencyKey(caller_sha256=_caller(request), key=key, request_sha256=_fingerprint(request, body))
        if (stored := await self._claim(row)) is not None:
            return _replay(stored, row.request_sha256)
        try:
            answer = await self._run(request, body)
        except BaseException:
            await self._forget(row)
            raise
        await (self._keep(row, answer) if _is_final(answer.status_code) else self._forget(row))
        return answer

    async def _claim(self, row: IdempotencyKey) -> IdempotencyKey | None:
        """None if ``row`` is ours now, else what is stored under its key."""
        stale = utc_now() - IDEMPOTENCY_KEYS_KEPT, utc_now() - _IN_FLIGHT_AT_MOST
        async with transaction(self._sessions) as session:
            old = (IdempotencyKey.created_at < stale[0]) | (
                IdempotencyKey.status.is_(None) & (IdempotencyKey.created_at < stale[1])
            )
            await session.execute(delete(IdempotencyKey).where(_same(row), old))
            values = {"caller_sha256": row.caller_sha256, "key": row.key, "request_sha256": row.request_sha256}
            statement = insert(IdempotencyKey).values(values).on_conflict_do_nothing().returning(IdempotencyKey.key)
            if (await session.execute(statement)).first() is not None:
                return None
            return await session.scalar(select(IdempotencyKey).where(_same(row)))

    async def _run(self, request: Request, body: bytes) -> Response:
        """What the application answers to the request whose body was read already."""
        started: Message = {}
        chunks: list[bytes] = []

        async def replayed_receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def collecting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.update(message)
            else:
                chunks.append(message.get("body", b""))

        await self.app(request.scope, replayed_receive, collecting_send)
        response = Response(b"".join(chunks), started["status"])
        response.raw_headers = list(started["headers"])
        return response

    async def _keep(self, row: IdempotencyKey, answer: Response) -> None:
        kept = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
        values = {"status": answer.status_code, "headers": kept, "body": bytes(answer.body)}
        async with transaction(self._sessions) as session:
            await session.execute(update(IdempotencyKey).where(_same(row)).values(values))

    async def _forget(self, row: IdempotencyKey) -> None:
        try:
            async with transaction(self._sessions) as session:
                await session.execute(delete(IdempotencyKey).where(_same(row)))
        except Exception as error:
            if of_database(error) is None:
                raise  # else the database is away: the row goes stale by itself


def _same(row: IdempotencyKey) -> ColumnElement[bool]:
    return (IdempotencyKey.caller_sha256 == row.caller_sha256) & (IdempotencyKey.key == row.key)


def _caller(request: Request) -> str:
    return hashlib.sha256(request.headers.get("authorization", "").encode()).hexdigest()


def _fingerprint(request: Request, body: bytes) -> str:
    parts = [*target_of(request), hashlib.sha256(body).hexdigest()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _is_final(status: int) -> bool:
    return status < 500 and status not in _NOT_FINAL


def _replay(stored: IdempotencyKey, request_sha256: str) -> Response:
    if stored.request_sha256 != request_sha256:
        raise Invalid("idempotency_key_reused", "This Idempotency-Key was used for another request.")
    if stored.status is None:
        raise Conflict("request_in_flight", "The request with this Idempotency-Key is still in flight.")
    headers = {**(stored.headers or {}), "Idempotency-Replayed": "true"}
    return Response(stored.body or b"", stored.status, headers=headers)
