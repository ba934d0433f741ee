"""From a registered model to predictions in the ledger, through real processes."""

import asyncio

import httpx

from tests.integration.conftest import MakeKey
from tests.integration.serving.conftest import Server, until
from tests.integration.serving.models import ROWS, Models, classifier, constant
from tidemill.auth.scopes import Scope


async def deploy(control: httpx.AsyncClient, name: str, reference: str) -> None:
    answer = await control.put(f"/api/v1/deployments/{name}", json={"model": reference})
    assert answer.status_code in (200, 201), answer.text


async def test_a_deployed_model_predicts_and_its_predictions_can_be_read_back(
    control: httpx.AsyncClient, server: Server, models: Models
) -> None:
    pipeline = classifier()
    await models.register("people", pipeline, task="binary", classes=["poor", "rich"])
    await deploy(control, "wealth", "people:1")
    await server.start()
    answer = await server.predict("wealth", ROWS)
    assert answer.status_code == 200, answer.text
    assert (answer.headers["x-model-name"], answer.headers["x-model-version"]) == ("people", "1")
    body = answer.json()
    predicted = [(row["prediction"], set(row["probabilities"])) for row in body["predictions"]]
    assert predicted == [("poor", {"poor", "rich"}), ("rich", {"poor", "rich"}), ("poor", {"poor", "rich"})]
    await server.until_shipped()
    for row, sent in zip(body["predictions"], ROWS, strict=True):
        kept = (await control.get(f"/api/v1/predictions/{row['prediction_id']}")).json()
        assert kept["inputs"] == sent
        assert kept["output"] == {"prediction": row["prediction"], "probabilities": row["probabilities"]}
        assert (kept["deployment"], kept["model_name"], kept["model_version"]) == ("wealth", "people", 1)
        assert kept["request_id"] == answer.headers["x-request-id"]
    page = (await control.get("/api/v1/predictions", params={"deployment": "wealth", "page_size": 2})).json()
    rest = (
        await control.get(
            "/api/v1/predictions",
            params={"deployment": "wealth", "page_size": 2, "page_token": page["next_page_token"]},
        )
    ).json()
    listed = [row["prediction_id"] for row in page["items"] + rest["items"]]
    assert listed == [row["prediction_id"] for row in reversed(body["predictions"])]


async def test_aliases_move_under_load_without_a_failed_or_inconsistent_answer(
    control: httpx.AsyncClient, server: Server, models: Models
) -> None:
    for number in (1, 2, 3):
        await models.register("steady", constant(float(number)))
    await models.point("steady", "live", 1)
    await deploy(control, "steady", "steady@live")
    await server.start()
    seen: dict[int, int] = {}
    stop = asyncio.Event()

    async def ask(client: httpx.AsyncClient) -> None:
        while not stop.is_set():
            answer = await client.post(
                "/api/v1/deployments/steady/predict", json={"inputs": [{"age": 1, "hours": 1.5}] * 3}
            )
            assert answer.status_code == 200, answer.text
            body = answer.json()
            version = body["model_version"]
            assert str(version) == answer.headers["x-model-version"]
            assert [row["prediction"] for row in body["predictions"]] == [float(version)] * 3
            seen[version] = seen.get(version, 0) + 1

    async with server.client() as client:
        askers = [asyncio.create_task(ask(client)) for _ in range(8)]
        for number in (2, 3, 1, 3, 2):
            await models.point("steady", "live", number)
            await server.until_serving("steady", number)
        stop.set()
        await asyncio.gather(*askers)
    assert set(seen) == {1, 2, 3}
    await until(lambda: freed_all_but_one(server))


async def freed_all_but_one(server: Server) -> bool:
    return len(list((server.state / "models").iterdir())) == 1


async def test_a_model_that_cannot_be_loaded_leaves_the_old_one_serving_and_is_reported(
    control: httpx.AsyncClient, server: Server, models: Models
) -> None:
    await models.register("fragile", constant(1.0))
    await models.register("fragile", {"not": "a model"})
    await models.point("fragile", "live", 1)
    await deploy(control, "fragile", "fragile@live")
    await server.start()
    await models.point("fragile", "live", 2)

    async def is_reported() -> bool:
        status = (await control.get("/api/v1/deployments/fragile/status")).json()
        return bool(status["state"] == "failed")

    await until(is_reported)
    status = (await control.get("/api/v1/deployments/fragile/status")).json()
    (seen,) = status["servers"]
    assert (status["model_version"], seen["model_version"], seen["state"]) == (2, 1, "failed")
    assert seen["error_code"]
    await server.until_serving("fragile", 1)
    await asyncio.to_thread(server.stop)
    await server.start()
    await server.until_serving("fragile", 1)


async def test_only_keys_that_may_predict_are_let_in_and_revoked_ones_are_locked_out(
    control: httpx.AsyncClient, server: Server, models: Models, make_key: MakeKey
) -> None:
    await models.register("people", constant(1.0))
    await deploy(control, "people", "people:1")
    await server.start()
    route, body = "/api/v1/deployments/people/predict", {"inputs": [{"age": 1, "hours": 1}]}
    poor, doomed = await make_key(Scope.DATASETS_READ), await make_key(Scope.PREDICT)

    async def status_with(key: str) -> int:
        return (await server.predict("people", body["inputs"], key)).status_code

    async def is_let_in() -> bool:
        return await status_with(doomed) == 200

    async def is_locked_out() -> bool:
        return await status_with(doomed) == 401

    await until(is_let_in)
    assert await status_with(poor) == 403
    assert await status_with("wrong") == 401
    async with httpx.AsyncClient(base_url=server.url) as client:
        assert (await client.post(route, json=body)).status_code == 401
        for open_route in ("/livez", "/readyz", "/ping", "/health", "/version", "/metrics"):
            assert (await client.get(open_route)).status_code == 200, open_route
    keys = (await control.get("/api/v1/keys")).json()["items"]
    key_id = "key_" + doomed.split("_")[2]

    async def use_is_known() -> bool:
        keys = (await control.get("/api/v1/keys")).json()["items"]
        return next(key for key in keys if key["id"] == key_id)["last_used_at"] is not None

    assert key_id in {key["id"] for key in keys}
    await until(use_is_known)
    await control.post(f"/api/v1/keys/{key_id}:revoke")
    await until(is_locked_out)


async def test_it_starts_and_answers_from_its_own_disk_while_the_api_is_away(
    control: httpx.AsyncClient, server: Server, models: Models
) -> None:
    await models.register("people", constant(7.0))
    await deploy(control, "people", "people:1")
    await server.start()
    await asyncio.to_thread(server.stop)
    await server.start(api_url="http://127.0.0.1:9")
    (row,) = (await server.predict("people", [{"age": 1, "hours": 1}])).json()["predictions"]
    assert row["prediction"] == 7.0
    await asyncio.to_thread(server.stop)
    await server.start()
    await server.until_shipped()
    assert (await control.get(f"/api/v1/predictions/{row['prediction_id']}")).status_code == 200


async def test_a_deleted_deployment_is_no_longer_served_and_its_history_stays(
    control: httpx.AsyncClient, server: Server, models: Models
) -> None:
    await models.register("people", constant(7.0))
    await models.register("people", constant(8.0))
    await deploy(control, "people", "people:1")
    await deploy(control, "people", "people:2")
    await deploy(control, "people", "people:2")
    await server.start()
    await server.until_serving("people", 2)
    assert (await control.delete("/api/v1/deployments/people")).status_code == 204

    async def is_gone() -> bool:
        return (await server.predict("people", [{"age": 1, "hours": 1}])).status_code == 404

    await until(is_gone)
    history = (await control.get("/api/v1/deployments/people/history")).json()["items"]
    kept = [(event["kind"], event["reference"], event["who_name"]) for event in history]
    assert kept == [("deleted", None, "test"), ("changed", "people:2", "test"), ("created", "people:1", "test")]
