"""What the model server says of itself: its document, and each deployment's own."""

import httpx

from tests.integration.serving.conftest import ServerThread
from tests.integration.serving.models import Models, classifier


async def test_a_deployment_describes_its_models_own_fields(
    server: ServerThread, control: httpx.AsyncClient, models: Models
) -> None:
    await models.register("people", classifier(), task="binary", classes=["poor", "rich"])
    await control.put("/api/v1/deployments/wealth", json={"model": "people:1"})
    await server.start()
    async with server.client() as client:
        answer = await client.get("/api/v1/deployments/wealth/openapi.json")
        assert answer.status_code == 200, answer.text
        document = answer.json()
        missing = await client.get("/api/v1/deployments/none/openapi.json")
        stranger = await client.get("/api/v1/deployments/wealth/openapi.json", headers={"Authorization": ""})
        general = (await client.get("/openapi.json")).json()
    assert (missing.status_code, stranger.status_code) == (404, 401)
    assert document["info"] == {"title": "wealth (people)", "version": "1"}
    assert list(document["paths"]) == ["/api/v1/deployments/wealth/predict"]
    row = document["components"]["schemas"]["Row"]
    assert set(row["properties"]) == {"age", "hours", "town"}
    assert row["properties"]["age"]["type"] in ("integer", ["integer", "null"])
    assert document["components"]["schemas"]["RowPrediction"]["properties"]["prediction"]["enum"] == ["poor", "rich"]
    assert general["components"]["securitySchemes"]["api key"]["scheme"] == "bearer"
    assert general["paths"]["/invocations"]["post"]["security"] == [{"api key": []}]
    assert "security" not in general["paths"]["/ping"]["get"]
