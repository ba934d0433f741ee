"""Real model servers stop and die under load, and no prediction fails."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.edge.conftest import MakeEdge
from tests.edge.names import Names
from tests.edge.nginx import Edge
from tests.integration.conftest import LiveApi, MakeKey
from tests.integration.serving.conftest import ServerProcess, until
from tests.integration.serving.models import Models, constant
from tests.integration.serving.test_exactly_once import recorded
from tests.ports import free_port
from tidemill.auth.scopes import Scope
from tidemill.db.engine import SessionFactory

_DRAIN = {"TIDEMILL_EDGE__DRAIN_SECONDS": "6"}


class Replica(ServerProcess):
    """On an address of its own, as a container has."""

    def __init__(self, folder: Path, live_api: LiveApi, keys: tuple[str, str], address: str, port: int) -> None:
        folder.mkdir()
        super().__init__(folder, live_api, *keys)
        self.address, self.port = address, port
        self.settings |= {"host": address, "port": str(port)}

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"


class Load:
    """Predicts through the edge without a pause."""

    def __init__(self, edge: Edge, key: str) -> None:
        self.answered: list[str] = []
        self.failures: list[str] = []
        self._edge, self._key = edge, key
        self._stop = asyncio.Event()
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(8)]

    async def until_more(self, count: int) -> None:
        enough = len(self.answered) + count

        async def answered() -> bool:
            return len(self.answered) >= enough or bool(self.failures)

        await until(answered, 120)

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _ask(self) -> None:
        body = {"inputs": [{"age": 1, "hours": 1.5, "town": "Ulm"}] * 2}
        headers = {"Authorization": f"Bearer {self._key}"}
        async with httpx.AsyncClient(
            base_url=self._edge.url, verify=self._edge.trust(), timeout=30, headers=headers
        ) as client:
            while not self._stop.is_set():
                answer = await client.post("/api/v1/deployments/steady/predict", json=body)
                if answer.status_code == 200:
                    self.answered += [row["prediction_id"] for row in answer.json()["predictions"]]
                else:
                    self.failures.append(f"{answer.status_code} {answer.text}")


@pytest.fixture
async def replicas(
    live_api: LiveApi, make_key: MakeKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Replica]]:
    for name, value in _DRAIN.items():
        monkeypatch.setenv(name, value)
    keys, port = (await make_key(Scope.SERVING), await make_key(Scope.PREDICT)), free_port()
    made = [Replica(tmp_path / f"replica-{n}", live_api, keys, f"127.0.9.{n}", port) for n in (1, 2)]
    yield made
    for replica in made:
        if replica.is_running:
            replica.kill()


@pytest.fixture
async def steady(replicas: list[Replica], live_api: LiveApi, models: Models) -> list[Replica]:
    """Both serve the deployment ``steady``."""
    await models.register("steady", constant(1.0))
    async with httpx.AsyncClient(base_url=live_api.url, headers={"Authorization": f"Bearer {live_api.key}"}) as control:
        await control.put("/api/v1/deployments/steady", json={"model": "steady:1"})
    await asyncio.gather(*(replica.start() for replica in replicas))
    for replica in replicas:
        await replica.until_serving("steady", 1)
        await replica.until_shipped()
    return replicas


@pytest.mark.timeout(600)  # four starts of a model server
@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_replica_that_goes_under_load_fails_no_prediction_and_leaves_none_twice(
    make_edge: MakeEdge, names: Names, steady: list[Replica], sessions: SessionFactory, how: str
) -> None:
    before = set(await recorded(sessions))
    names.table["replicas.test"] = [replica.address for replica in steady]
    edge = make_edge(MODEL_SERVER=f"replicas.test:{steady[0].port}", PREDICT_RATE="100000r/s")
    load = Load(edge, steady[0].predict_key)
    for replica in steady:  # one after the other
        await load.until_more(150)
        await asyncio.to_thread(replica.stop if how == "stop" else replica.kill)
        await load.until_more(150)
        await replica.start()
        await load.until_more(150)
    await load.stop()
    assert load.failures == []
    for replica in steady:
        await replica.until_shipped()
    found = await recorded(sessions)
    assert set(found.values()) == {1}
    assert set(found) - before == set(load.answered)
    assert len(load.answered) == len(set(load.answered))
