"""Liveness and readiness, the only routes without a key."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated

from fastapi import APIRouter, Query, Response

from tidemill.schemas.base import TEXT_PATTERN, Reply
from tidemill.web.problems import RETRY_AFTER_SECONDS

Check = Callable[[], Awaitable[bool]]
_CHECK_TIMEOUT_SECONDS = 3
_LONGEST_CHECK_SECONDS = 30


class Health(Reply):
    status: str
    """``ok`` or ``unready``."""
    checks: dict[str, bool] | None = None
    """Each check, with ``?verbose``."""
    notices: dict[str, bool] | None = None
    """With ``?verbose``: what people should look at although this process does its work."""


def health_router(checks: Mapping[str, Check], notices: Mapping[str, Check] | None = None) -> APIRouter:
    """``/livez`` says that the process runs, ``/readyz`` that every check passes (else 503), whatever the notices."""
    router = APIRouter(tags=["health"])
    run_checks, run_notices = _Shared(checks), _Shared(notices or {})

    @router.get("/livez", operation_id="health_live")
    async def livez() -> Health:
        """Whether this process runs."""
        return Health(status="ok")

    @router.get("/readyz", operation_id="health_ready", responses={503: {"model": Health}})
    async def readyz(response: Response, verbose: Annotated[str | None, Query(pattern=TEXT_PATTERN)] = None) -> Health:
        """Whether this process can do its work; ``?verbose`` lists the checks."""
        results = await run_checks()
        ready = all(results.values())
        response.status_code = 200 if ready else 503
        if not ready:
            response.headers["Retry-After"] = RETRY_AFTER_SECONDS
        health = Health(status="ok" if ready else "unready")
        if verbose is not None:
            health.checks, health.notices = results, await run_notices()
        return health

    return router


class _Shared:
    """Runs the checks once for all who ask meanwhile: anybody may ask, and a check may cost a database connection."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._round: asyncio.Task[dict[str, bool]] | None = None
        self._running: dict[str, asyncio.Task[bool]] = {}

    async def __call__(self) -> dict[str, bool]:
        if self._round is None or self._round.done():
            self._round = asyncio.create_task(self._run(), name="health checks")
        return dict(await asyncio.shield(self._round))

    async def _run(self) -> dict[str, bool]:
        results = await asyncio.gather(*map(self._passes, self._checks))
        return dict(zip(self._checks, results, strict=True))

    async def _passes(self, name: str) -> bool:
        """A check that takes too long is left to end by itself: ending it may take as long, such as a query's."""
        running = self._running.get(name)
        if running is None or running.done():
            running = self._running[name] = asyncio.create_task(_result(self._checks[name]), name=f"check {name}")
        await asyncio.wait({running}, timeout=_CHECK_TIMEOUT_SECONDS)
        return running.done() and running.result()


async def _result(check: Check) -> bool:
    try:
        async with asyncio.timeout(_LONGEST_CHECK_SECONDS):
            return await check()
    except Exception:  # noqa: BLE001 - whatever a check raises, the process is not ready
        return False
