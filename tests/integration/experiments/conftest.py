"""Datasets to train on, pushed through the api."""

from collections.abc import Awaitable, Callable

import httpx
import pytest

from tests.integration.conftest import RunJobs

PushDataset = Callable[[str, bytes], Awaitable[None]]


@pytest.fixture
def push_dataset(api: httpx.AsyncClient, run_jobs: RunJobs) -> PushDataset:
    """``await push_dataset("adult", csv)`` waits until the version is ready."""

    async def push(name: str, content: bytes) -> None:
        answer = await api.post(f"/api/v1/datasets/{name}/versions", params={"filename": "data.csv"}, content=content)
        assert answer.status_code == 202, answer.text
        await run_jobs()

    return push
