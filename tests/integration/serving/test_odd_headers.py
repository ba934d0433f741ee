"""Whatever a header or a query holds, a running model server answers, and never that something failed inside."""

import asyncio

import httpx

from tests.integration.odd_headers import failures
from tests.integration.serving.conftest import ServerThread
from tests.integration.serving.models import Models, constant


async def test_a_model_server_answers_odd_headers_and_queries(
    control: httpx.AsyncClient, server: ServerThread, models: Models
) -> None:
    await models.register("steady", constant(1.0))
    await control.put("/api/v1/deployments/steady", json={"model": "steady:1"})
    await server.start()
    await server.until_serving("steady", 1)
    for method, path in (
        (b"GET", b"/readyz"),
        (b"POST", b"/invocations"),
        (b"POST", b"/api/v1/deployments/steady/predict"),
    ):
        assert await asyncio.to_thread(failures, server.url, method, path, server.predict_key) == []
