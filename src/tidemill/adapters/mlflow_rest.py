"""MLflow's tracking server over REST. The api never imports mlflow itself (five seconds, a gigabyte of packages)."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
from prometheus_client import CollectorRegistry

from tidemill.adapters.metrics import mlflow_metrics
from tidemill.kit.errors import Invalid, NotFound, TidemillError, Unavailable
from tidemill.settings.model import MlflowSettings
from tidemill.tracing.spans import current_traceparent

_API = "/api/2.0/mlflow"
_ATTEMPTS = 4
_FIRST_WAIT_SECONDS = 0.25
_VERSION_TIMEOUT_SECONDS = 3
_LONGEST_VERSION = 50


class MlflowRest:
    """A thin typed client. Raises NotFound, Invalid or, after bounded retries, Unavailable."""

    def __init__(self, settings: MlflowSettings, registry: CollectorRegistry | None = None) -> None:
        headers = {"Authorization": f"Bearer {settings.token.get_secret_value()}"} if settings.token else {}
        self.url = settings.url.rstrip("/")
        self._http = httpx.AsyncClient(
            base_url=self.url,
            timeout=settings.timeout_seconds,
            headers=headers,
            event_hooks={"request": [_pass_trace_on]},
        )
        self._metrics = mlflow_metrics(registry)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def get(self, route: str, **params: Any) -> dict[str, Any]:
        """``GET /api/2.0/mlflow/{route}``; safe to repeat, so it is retried."""
        with self._metrics.timed(_operation(route)):
            return await self._call("GET", f"{_API}/{route}", params=params)

    async def post(self, route: str, body: dict[str, Any]) -> dict[str, Any]:
        """``POST /api/2.0/mlflow/{route}``; retried only when MLflow could not be reached at all."""
        with self._metrics.timed(_operation(route)):
            return await self._call("POST", f"{_API}/{route}", json=body)

    async def patch(self, route: str, body: dict[str, Any]) -> dict[str, Any]:
        """``PATCH /api/2.0/mlflow/{route}``; retried only when MLflow could not be reached at all."""
        with self._metrics.timed(_operation(route)):
            return await self._call("PATCH", f"{_API}/{route}", json=body)

    async def delete(self, route: str, body: dict[str, Any]) -> dict[str, Any]:
        """``DELETE /api/2.0/mlflow/{route}``; retried only when MLflow could not be reached at all."""
        with self._metrics.timed(_operation(route)):
            return await self._call("DELETE", f"{_API}/{route}", json=body)

    async def healthy(self) -> bool:
        """Whether it answers us: a server that refuses our token is of no more use than one that is away."""
        try:
            return (await self._http.get("/version", timeout=2)).status_code == 200
        except httpx.HTTPError:
            return False

    async def version(self) -> str:
        """Of the server, such as ``3.17.2``. Raises Unavailable."""
        try:
            response = await self._http.get("/version", timeout=_VERSION_TIMEOUT_SECONDS)
        except httpx.HTTPError as error:
            raise _away(error) from error
        if response.status_code != 200:
            raise _error_of(response)
        return response.text.strip()[:_LONGEST_VERSION]

    async def list_artifacts(self, artifact_path: str) -> list[dict[str, Any]]:
        """``{"path", "is_dir", "file_size"}`` for each entry of a folder under ``mlflow-artifacts:/``; names only."""
        with self._metrics.timed("artifacts"):
            answer = await self._call("GET", "/api/2.0/mlflow-artifacts/artifacts", params={"path": artifact_path})
        return list(answer.get("files", []))

    async def download_artifact(self, artifact_path: str) -> AsyncIterator[bytes]:
        """Stream one file through the server's artifact proxy; ``artifact_path`` as under ``mlflow-artifacts:/``."""
        route = f"/api/2.0/mlflow-artifacts/artifacts/{quote(artifact_path)}"
        try:
            async with self._http.stream("GET", route) as response:
                if response.status_code >= 400:
                    await response.aread()
                    raise _error_of(response)
                async for chunk in response.aiter_bytes(1 << 20):
                    yield chunk
        except httpx.HTTPError as error:
            raise _away(error) from error

    async def _call(self, method: str, route: str, **kwargs: Any) -> dict[str, Any]:
        for attempt in range(_ATTEMPTS):
            try:
                response = await self._http.request(method, route, **kwargs)
            except httpx.HTTPError as error:
                unsent = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
                if attempt == _ATTEMPTS - 1 or not (unsent or method == "GET"):
                    raise _away(error) from error
            else:
                if response.status_code < 500:
                    if response.status_code >= 400:
                        raise _error_of(response)
                    return dict(response.json())
                if attempt == _ATTEMPTS - 1 or method != "GET":
                    raise _error_of(response)
            await asyncio.sleep(_FIRST_WAIT_SECONDS * 2**attempt)
        raise AssertionError("unreachable")


async def _pass_trace_on(request: httpx.Request) -> None:
    if traceparent := current_traceparent():
        request.headers["traceparent"] = traceparent


def _operation(route: str) -> str:
    """The kind of thing a route is about; what follows may hold an id."""
    return route.partition("/")[0]


def _away(error: httpx.HTTPError) -> Unavailable:
    return Unavailable("mlflow_unavailable", f"MLflow does not answer ({type(error).__name__}).")


def _error_of(response: httpx.Response) -> TidemillError:
    try:
        body = response.json()
    except ValueError:
        body = {}
    code = str(body.get("error_code", response.status_code))
    if response.status_code == 404 or code == "RESOURCE_DOES_NOT_EXIST":
        return NotFound("mlflow_not_found", "MLflow does not know this run, model or artifact.")
    if response.status_code == 401:
        return Unavailable("mlflow_refuses_token", "MLflow refuses the platform's token: is it the same for both?")
    if response.status_code < 500:
        return Invalid("mlflow_refused", f"MLflow refused the request ({code}).")
    return Unavailable("mlflow_failed", f"MLflow failed ({code}).")
