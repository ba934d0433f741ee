"""MLflow keeps its artifacts in the platform's object store, and would take an empty mount point for it."""

import asyncio
from pathlib import Path

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tidemill.adapters.store_mark import FOREIGN, MARK

_DETAIL = "The object store lacks its mark: is its disk mounted?"


class MlflowStoreMiddleware:
    """503 for whatever reads or writes artifacts while the store's folder is not the platform's, as its mark tells.

    Api and worker write the mark before they first use the store. ``folder``: of the store; None for a bucket, which
    is not looked at here.
    """

    def __init__(self, app: ASGIApp, folder: Path | None) -> None:
        self._app = app
        self._mark = None if folder is None else folder / MARK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        touches_store = self._mark is not None and scope["type"] == "http" and "artifact" in scope["path"]
        if self._mark is not None and touches_store and not await asyncio.to_thread(self._mark.is_file):
            body = {"error_code": "TEMPORARILY_UNAVAILABLE", "message": _DETAIL, "code": FOREIGN}
            await JSONResponse(body, 503, headers={"Retry-After": "2"})(scope, receive, send)
            return
        await self._app(scope, receive, send)
