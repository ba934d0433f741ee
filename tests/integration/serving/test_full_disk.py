"""A model server's disk that is really full."""

import asyncio

import httpx

from tests.disks import small_disk
from tests.integration.serving.conftest import Server, until
from tests.integration.serving.models import Models, constant
from tests.integration.serving.test_exactly_once import recorded
from tidemill.db.engine import SessionFactory

_ROWS = [{"age": 1, "hours": 1.5, "town": "Köln"}] * 200


async def serving(control: httpx.AsyncClient, server: Server, models: Models, **settings: str) -> None:
    await models.register("steady", constant(1.0))
    await control.put("/api/v1/deployments/steady", json={"model": "steady:1"})
    await server.start(**settings)
    await server.until_serving("steady", 1)


async def ask(server: Server, answered: list[str], count: int) -> list[httpx.Response]:
    """Several requests side by side; ids of what was answered are added. The responses that refuse."""
    responses = await asyncio.gather(*(server.predict("steady", _ROWS) for _ in range(count)))
    for response in responses:
        if response.status_code == 200:
            answered += [row["prediction_id"] for row in response.json()["predictions"]]
    return [response for response in responses if response.status_code != 200]


async def test_a_model_server_on_a_full_disk_answers_what_it_keeps_alone_and_returns_with_the_space(
    control: httpx.AsyncClient, server: Server, models: Models, sessions: SessionFactory
) -> None:
    with small_disk(8 * 2**20) as disk:
        server.state = disk.path / "model-server"
        server.settings["state_dir"] = str(server.state)
        await serving(control, server, models, ship_seconds="600")
        answered: list[str] = []
        disk.fill(leave_bytes=512 * 1024)
        refused: list[httpx.Response] = []
        while not refused:  # half a megabyte is a few requests
            refused = await ask(server, answered, 3)
        refused += await ask(server, answered, 3)
        assert {(each.status_code, each.json()["code"]) for each in refused} == {(503, "ledger_unavailable")}
        assert all("retry-after" in each.headers for each in refused)
        async with server.client() as client:
            page = await client.get("/readyz", params={"verbose": "1"})
            assert (page.status_code, page.json()["checks"]["disk"]) == (503, False), page.text
            assert "tidemill_ledger_writable 0.0" in (await client.get("/metrics")).text
        disk.fill()
        await models.register("steady", constant(2.0))
        await control.put("/api/v1/deployments/steady", json={"model": "steady:2"})
        await until(lambda: _load_failed(server))
        await asyncio.to_thread(server.stop)  # which ships, and so frees what the ledger took
        disk.fill()
        server.launch(server.settings)
        await until(lambda: _is_refused(server))
        disk.free()
        await until(server.is_ready)
        await until(lambda: _answers_as(server, "2", answered), 60)
        assert await ask(server, answered, 3) == []
        await server.until_shipped()
        found = await recorded(sessions)
        assert set(found) >= set(answered)
        assert len(found) == len(answered) + 1  # the first, which was asked until it was answered
        assert set(found.values()) == {1}
        await asyncio.to_thread(server.stop)


async def _load_failed(server: Server) -> bool:
    async with server.client() as client:
        return 'tidemill_model_loads_total{deployment="steady",outcome="failed"}' in (await client.get("/metrics")).text


async def _is_refused(server: Server) -> bool:
    """By a server that runs; both what it says of itself and what it answers."""
    assert server.is_running
    try:
        async with server.client() as client:
            ready = await client.get("/readyz")
        return (ready.status_code, (await server.predict("steady", _ROWS)).status_code) == (503, 503)
    except httpx.TransportError:
        return False


async def _answers_as(server: Server, version: str, answered: list[str]) -> bool:
    response = await server.predict("steady", _ROWS)
    if response.status_code != 200:
        return False
    answered += [row["prediction_id"] for row in response.json()["predictions"]]
    return response.headers["x-model-version"] == version
