"""How much may be sent to MLflow, which sets no limit and keeps most bodies in its memory.

Its route for artifacts alone passes a body on piece by piece. So an artifact may be large, within a setting and within
what the store's disk has beside a reserve; every other body is small.
"""

import re
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidemill.kit.disk_room import LOOK_BYTES, require_disk_room
from tidemill.kit.errors import TidemillError, TooLarge
from tidemill.kit.sizes import format_size
from tidemill.platform.mlflow_access import refusal

OTHER_BYTES = 64 * 2**20
"""Of a body that is no artifact: MLflow's own clients send a hundredth of it."""
_ARTIFACT = re.compile(r"/(ajax-)?api/2\.0/mlflow-artifacts/artifacts/.+")
_NUMBER = re.compile(r"[0-9]{1,18}")


class MlflowBodyMiddleware:
    """413 for a body beyond its limit, 503 for an artifact that would take the disk's reserve.

    Both before anything is read where the request says how long it is, else as soon as it is seen. ``folder``: of the
    object store; None for a bucket, which has no disk of ours.
    """

    def __init__(self, app: ASGIApp, max_artifact_bytes: int, folder: Path | None) -> None:
        self._app = app
        self._max_artifact_bytes = max_artifact_bytes
        self._folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_artifact = scope["method"] == "PUT" and _ARTIFACT.fullmatch(scope["path"]) is not None
        body = _Body(self._max_artifact_bytes if is_artifact else OTHER_BYTES, self._folder if is_artifact else None)
        try:
            await body.announce(Headers(scope=scope).get("content-length", ""))
        except TidemillError as error:
            await refusal(error, scope["path"])(scope, receive, send)
            return
        await self._counted(body, scope, receive, send)

    async def _counted(self, body: "_Body", scope: Scope, receive: Receive, send: Send) -> None:
        """What MLflow answers to a body that was cut short is replaced."""
        refused: TidemillError | None = None
        is_answered = False

        async def counted_receive() -> Message:
            nonlocal refused
            message = await receive()
            try:
                await body.add(len(message.get("body", b"")))
            except TidemillError as error:
                refused = error
                raise
            return message

        async def guarded_send(message: Message) -> None:
            nonlocal is_answered
            if refused is None or is_answered:
                is_answered = is_answered or message["type"] == "http.response.start"
                await send(message)

        try:
            await self._app(scope, counted_receive, guarded_send)
        except Exception:  # MLflow's own layers wrap what was raised while they read
            if refused is None:
                raise
        if refused is not None and not is_answered:
            await refusal(refused, scope["path"])(scope, receive, send)


class _Body:
    """One body as it arrives."""

    def __init__(self, limit_bytes: int, folder: Path | None) -> None:
        self._limit_bytes = limit_bytes
        self._folder = folder
        self._read_bytes = self._looked_at_bytes = 0

    async def announce(self, content_length: str) -> None:
        """Raises TooLarge and Unavailable for what is said of the length."""
        digits = content_length.lstrip("0")
        if _NUMBER.fullmatch(digits):
            self._check_limit(int(digits))
            await self._check_disk(int(digits))

    async def add(self, size_bytes: int) -> None:
        """Raises TooLarge and Unavailable for what has come so far."""
        self._read_bytes += size_bytes
        self._check_limit(self._read_bytes)
        if self._read_bytes - self._looked_at_bytes >= LOOK_BYTES:
            self._looked_at_bytes = self._read_bytes
            await self._check_disk(size_bytes)

    def _check_limit(self, size_bytes: int) -> None:
        if size_bytes > self._limit_bytes:
            raise TooLarge("body_too_large", f"MLflow takes at most {format_size(self._limit_bytes)} here.")

    async def _check_disk(self, more_bytes: int) -> None:
        if self._folder is not None:
            await require_disk_room(self._folder, more_bytes)
