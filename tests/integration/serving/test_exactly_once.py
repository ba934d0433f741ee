"""Every answered prediction is in PostgreSQL exactly once, whatever is killed or away meanwhile."""

import asyncio
from collections.abc import Mapping

import httpx
from sqlalchemy import text

from tests.integration.conftest import LiveApi
from tests.integration.serving.conftest import Server, ServerProcess, until
from tests.integration.serving.models import Models, constant
from tidemill.db.engine import SessionFactory, transaction


async def recorded(sessions: SessionFactory) -> Mapping[str, int]:
    """Prediction id to how often it is in the ledger."""
    async with transaction(sessions) as session:
        rows = await session.execute(text("SELECT prediction_id, count(*) FROM predictions GROUP BY 1"))
        return {row.prediction_id: row.count for row in rows}


class Load:
    """Asks as fast as it can and remembers what was answered."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.answered: list[str] = []
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, concurrency: int = 6) -> None:
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(concurrency)]

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def until_answered(self, count: int) -> None:
        async def enough() -> bool:
            return len(self.answered) >= count

        await until(enough, 60)

    async def _ask(self) -> None:
        body = {"inputs": [{"age": 1, "hours": 1.5, "town": "Köln"}] * 2}
        async with self._server.client() as client:
            while not self._stop.is_set():
                try:
                    answer = await client.post("/api/v1/deployments/steady/predict", json=body)
                except httpx.TransportError:
                    await asyncio.sleep(0.3)
                    continue
                if answer.status_code == 200:
                    self.answered += [row["prediction_id"] for row in answer.json()["predictions"]]


async def test_a_killed_model_server_has_lost_nothing_that_it_answered(
    control: httpx.AsyncClient,
    server_process: ServerProcess,
    server: Server,
    models: Models,
    sessions: SessionFactory,
) -> None:
    await models.register("steady", constant(1.0))
    await control.put("/api/v1/deployments/steady", json={"model": "steady:1"})
    await server_process.start()
    load = Load(server_process)
    load.start()
    await load.until_answered(300)
    server_process.kill()
    before = len(load.answered)
    await server.start(port=str(server_process.port))  # its successor, on the same state directory
    await load.until_answered(before + 300)
    await load.stop()
    await asyncio.to_thread(server.stop)
    assert not list((server.state / "ledger").glob("*.wal")), "a clean stop ships what is left"
    found = await recorded(sessions)
    assert set(load.answered) <= set(found)
    assert set(found.values()) == {1}
    assert len(set(load.answered)) == len(load.answered)


async def cut_all_connections(sessions: SessionFactory) -> None:
    """As a restart of PostgreSQL does, in the middle of whatever it was doing."""
    mine = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    async with transaction(sessions) as session:
        await session.execute(text(f"{mine} AND pid <> pg_backend_pid()"))


async def test_the_ledger_waits_on_disk_while_api_and_database_are_away_and_is_shipped_when_they_are_back(
    control: httpx.AsyncClient, server: Server, models: Models, sessions: SessionFactory, live_api: LiveApi
) -> None:
    await models.register("steady", constant(1.0))
    await control.put("/api/v1/deployments/steady", json={"model": "steady:1"})
    await server.start()
    gate = Gate(live_api.url)
    await asyncio.to_thread(server.stop)
    async with gate.listening() as address:
        await server.start(api_url=address)
        load = Load(server)
        load.start(2)
        await load.until_answered(20)
        gate.is_open = False
        before = len(load.answered)
        await load.until_answered(before + 100)
        async with server.client() as client:
            page = (await client.get("/readyz", params={"verbose": "1"})).json()
        assert page["status"] == "ok"
        gate.is_open = True
        for _ in range(3):
            await cut_all_connections(sessions)
            await load.until_answered(len(load.answered) + 20)
        await load.stop()
        await server.until_shipped(60)
    found = await recorded(sessions)
    assert set(load.answered) <= set(found)
    assert set(found.values()) == {1}


class Gate:
    """A relay to the api that can be shut; it also cuts some answers off, so that segments are sent twice."""

    def __init__(self, target: str) -> None:
        host, _, port = target.removeprefix("http://").partition(":")
        self._target = host, int(port)
        self.is_open = True
        self._count = 0

    def listening(self) -> "_Listening":
        return _Listening(self)

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._count += 1
        try:
            if self.is_open:
                there = await asyncio.open_connection(*self._target)
                await asyncio.gather(self._pump(reader, there[1]), self._pump(there[0], writer))
        except OSError:
            pass
        finally:
            writer.close()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while (chunk := await source.read(65536)) and self.is_open:
            target.write(chunk)
            await target.drain()
        target.close()


class _Listening:
    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._gate.relay, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._gate.is_open = False
        self._server.close()
