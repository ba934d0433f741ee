"""A prediction that is sent twice, as the proxy does when a model server dies, is recorded once."""

from typing import Any

import httpx

from tests.integration.serving.conftest import Server
from tests.integration.serving.models import Models, constant
from tests.integration.serving.test_exactly_once import recorded
from tidemill.db.engine import SessionFactory
from tidemill.kit.ids import uuid7

_BODY = {"inputs": [{"age": 1, "hours": 1.5, "town": "Ulm"}] * 3}


async def _ids(client: httpx.AsyncClient, key: str, path: str, body: Any = _BODY) -> list[str]:
    answer = await client.post(path, json=body, headers={"Idempotency-Key": key})
    assert answer.status_code == 200, answer.text
    content = answer.json()
    return content.get("prediction_ids") or [row["prediction_id"] for row in content["predictions"]]


async def test_a_request_sent_twice_is_one_set_of_predictions(
    control: httpx.AsyncClient, server: Server, models: Models, sessions: SessionFactory
) -> None:
    await models.register("steady", constant(1.0))
    await control.put("/api/v1/deployments/steady", json={"model": "steady:1"})
    await server.start()
    await server.until_serving("steady", 1)
    key, path = str(uuid7()), "/api/v1/deployments/steady/predict"
    async with server.client() as client:
        first = await _ids(client, key, path)
        again = await _ids(client, key, path)
        other = await _ids(client, str(uuid7()), path)
        scored = await _ids(client, key, "/invocations", {"dataframe_records": _BODY["inputs"]})
        refused = await client.post(path, json=_BODY, headers={"Idempotency-Key": "again"})
    assert first == again
    assert len({*first, *other, *scored}) == 9
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_invalid")
    await server.until_shipped()
    found = await recorded(sessions)
    assert {*first, *other, *scored} <= set(found)
    assert set(found.values()) == {1}
