"""Creating requests with an ``Idempotency-Key``."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from starlette.middleware import Middleware

from tidemill.api.idempotency import IdempotencyMiddleware
from tidemill.db.engine import SessionFactory
from tidemill.kit.errors import Invalid, Unavailable
from tidemill.web.app import WebConfig, create_web_app
from tidemill.web.metrics import create_registry


class Thing(BaseModel):
    name: str


class Factory:
    """Makes things; counts how often it really did."""

    def __init__(self) -> None:
        self.calls = 0
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()
        self.router = APIRouter()
        self.router.add_api_route(
            "/things", self.create, methods=["POST"], operation_id="things_create", status_code=201
        )

    async def create(self, thing: Thing) -> Thing:
        self.calls += 1
        if thing.name == "slow":
            self.entered.set()
            await self.go_on.wait()
        if thing.name == "away" and self.calls == 1:
            raise Unavailable("away", "Away.")
        if thing.name == "bad":
            raise Invalid("bad", "Bad.")
        return Thing(name=f"{thing.name} {self.calls}")


@pytest.fixture
async def factory() -> Factory:
    return Factory()


@pytest.fixture
async def things(sessions: SessionFactory, factory: Factory) -> AsyncIterator[httpx.AsyncClient]:
    config = WebConfig(
        title="things",
        registry=create_registry(),
        max_body_bytes=1000,
        inner_middleware=[Middleware(IdempotencyMiddleware, sessions=sessions, except_paths=("/never",))],
    )
    app: FastAPI = create_web_app(config, [factory.router])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://things") as client:
        yield client


async def _post(client: httpx.AsyncClient, name: str, key: str | None, caller: str = "a") -> httpx.Response:
    headers = {"Authorization": f"Bearer {caller}"} | ({"Idempotency-Key": key} if key else {})
    return await client.post("/things", json={"name": name}, headers=headers)


async def test_the_same_request_again_gets_the_stored_answer(things: httpx.AsyncClient, factory: Factory) -> None:
    first, again = await _post(things, "x", "k1"), await _post(things, "x", "k1")
    assert (first.status_code, first.json()) == (again.status_code, again.json()) == (201, {"name": "x 1"})
    assert again.headers["idempotency-replayed"] == "true"
    assert factory.calls == 1


async def test_a_refusal_is_an_answer_too(things: httpx.AsyncClient, factory: Factory) -> None:
    first, again = await _post(things, "bad", "k1"), await _post(things, "bad", "k1")
    assert first.status_code == again.status_code == 422
    assert again.headers["content-type"] == "application/problem+json"
    assert factory.calls == 1


async def test_another_body_under_the_same_key_is_refused(things: httpx.AsyncClient) -> None:
    await _post(things, "x", "k1")
    other = await _post(things, "y", "k1")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_keys_belong_to_their_caller(things: httpx.AsyncClient) -> None:
    assert (await _post(things, "x", "k1", "a")).json() == {"name": "x 1"}
    assert (await _post(things, "x", "k1", "b")).json() == {"name": "x 2"}


async def test_a_request_in_flight_is_a_conflict(things: httpx.AsyncClient, factory: Factory) -> None:
    running = asyncio.create_task(_post(things, "slow", "k1"))
    await factory.entered.wait()
    second = await _post(things, "slow", "k1")
    assert (second.status_code, second.json()["code"]) == (409, "request_in_flight")
    factory.go_on.set()
    assert (await running).status_code == 201


async def test_an_answer_that_says_try_again_is_not_stored(things: httpx.AsyncClient) -> None:
    assert (await _post(things, "away", "k1")).status_code == 503
    assert (await _post(things, "away", "k1")).json() == {"name": "away 2"}


async def test_without_a_key_nothing_is_stored(things: httpx.AsyncClient) -> None:
    assert (await _post(things, "x", None)).json() != (await _post(things, "x", None)).json()


async def test_a_key_that_is_too_long_is_refused(things: httpx.AsyncClient) -> None:
    assert (await _post(things, "x", "k" * 256)).status_code == 422
