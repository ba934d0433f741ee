"""Whatever a header or a query holds, the running servers answer, and never that something failed inside."""

import asyncio

import pytest

from tests.integration.conftest import LiveApi
from tests.integration.mlflow_server import MLFLOW_TOKEN
from tests.integration.odd_headers import failures


async def test_the_api_answers_odd_headers_and_queries(live_api: LiveApi) -> None:
    for method, path in (
        (b"GET", b"/sign-in"),
        (b"POST", b"/sign-in"),
        (b"POST", b"/sign-out"),
        (b"GET", b"/api/v1/session"),
        (b"GET", b"/api/v1/jobs"),
        (b"GET", b"/api/v1/jobs/job_0123/events"),
        (b"POST", b"/api/v1/experiments"),
        (b"POST", b"/api/v1/feedback/files"),
        (b"GET", b"/api/v1/serving/snapshot"),
    ):
        assert await asyncio.to_thread(failures, live_api.url, method, path, live_api.key) == []


@pytest.mark.parametrize("key", [MLFLOW_TOKEN, "tm_test_made_up"])
def test_mlflow_answers_odd_headers_and_queries(mlflow_server: str, key: str) -> None:
    for method, path in (
        (b"GET", b"/health"),
        (b"GET", b"/api/2.0/mlflow/experiments/search"),
        (b"POST", b"/api/2.0/mlflow/runs/create"),
    ):
        assert failures(mlflow_server, method, path, key) == []
