"""Liveness and readiness, the only routes without a key."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from fastapi import APIRouter, Response

from tidemill.schemas.base import Reply

Check = Callable[[], Awaitable[bool]]
_CHECK_TIMEOUT_SECONDS = 3


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

    @router.get("/livez", operation_id="health_live")
    async def livez() -> Health:
        """Whether this process runs."""
        return Health(status="ok")

    @router.get("/readyz", operation_id="health_ready", responses={503: {"model": Health}})
    async def readyz(response: Response, verbose: str | None = None) -> Health:
        """Whether this process can do its work; ``?verbose`` lists the checks."""
        results = await _run(checks)
        ready = all(results.values())
        response.status_code = 200 if ready else 503
        health = Health(status="ok" if ready else "unready")
        if verbose is not None:
            health.checks, health.notices = results, await _run(notices or {})
        return health

    return router


async def _run(checks: Mapping[str, Check]) -> dict[str, bool]:
    return dict(zip(checks, await asyncio.gather(*map(_passes, checks.values())), strict=True))


async def _passes(check: Check) -> bool:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_SECONDS):
            return await check()
    except Exception:  # noqa: BLE001 - whatever a check raises, the process is not ready
        return False
