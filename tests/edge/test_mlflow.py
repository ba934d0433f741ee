"""A real MLflow works behind the prefix and the sign-in: its pages, its programs, its files."""

import re

import httpx

from tests.edge.conftest import MakeEdge
from tests.integration.conftest import LiveApi, MakeKey
from tests.integration.mlflow_server import MLFLOW_TOKEN
from tidemill.auth.scopes import Scope


async def test_pages_searches_writes_and_files_of_mlflow_pass_the_edge(
    make_edge: MakeEdge, live_api: LiveApi, mlflow_server: str
) -> None:
    targets = {"API": live_api.url.removeprefix("http://"), "MLFLOW": mlflow_server.removeprefix("http://")}
    edge = make_edge(**targets, MLFLOW_TOKEN=MLFLOW_TOKEN)
    key = {"Authorization": f"Bearer {live_api.key}"}
    async with httpx.AsyncClient(base_url=f"{edge.url}/mlflow", verify=edge.trust(), timeout=30, headers=key) as client:
        page = await client.get("/")
        assert page.status_code == 200
        assets = re.findall(r"(?:src|href)=\"(static-files/[^\"]+)\"", page.text)
        assert assets, "addresses relative to the prefix"
        for asset in assets:
            assert (await client.get(f"/{asset}")).status_code == 200
        own = {"Origin": edge.url, "Sec-Fetch-Site": "same-origin"}
        api = "/ajax-api/2.0/mlflow"
        made = await client.post(f"{api}/experiments/create", json={"name": "through-the-edge"}, headers=own)
        assert made.status_code == 200, made.text
        found = await client.post(f"{api}/experiments/search", json={"max_results": 10}, headers=own)
        assert "through-the-edge" in found.text
        content = b"z" * (3 * 2**20)
        file = "/api/2.0/mlflow-artifacts/artifacts/edge/file.bin"
        assert (await client.put(file, content=content)).status_code == 200
        assert (await client.get(file)).content == content
        assert (await client.get("/ajax-api/3.0/mlflow/assistant/config")).status_code == 404
        assert (await client.get("/version")).text.strip()


async def test_a_key_that_may_read_writes_nothing_through_the_edge_and_nobody_claims_otherwise(
    make_edge: MakeEdge, live_api: LiveApi, mlflow_server: str, make_key: MakeKey
) -> None:
    targets = {"API": live_api.url.removeprefix("http://"), "MLFLOW": mlflow_server.removeprefix("http://")}
    edge = make_edge(**targets, MLFLOW_TOKEN=MLFLOW_TOKEN)
    reader = {"Authorization": f"Bearer {await make_key(Scope.MLFLOW_READ)}", "X-Tidemill-Access": "write"}
    async with httpx.AsyncClient(base_url=f"{edge.url}/mlflow", verify=edge.trust(), timeout=30) as client:
        search = await client.post("/api/2.0/mlflow/experiments/search", json={"max_results": 1}, headers=reader)
        assert search.status_code == 200, search.text
        for method, path in (
            ("PUT", "/api/2.0/mlflow-artifacts/artifacts/edge/taken.bin"),
            ("POST", "/api/2.0/mlflow/runs/create"),
            ("DELETE", "/api/2.0/mlflow/registered-models/delete"),
        ):
            assert (await client.request(method, path, content=b"{}", headers=reader)).status_code == 403
            own = {"Authorization": f"Bearer {MLFLOW_TOKEN}"}  # good inside alone
            assert (await client.request(method, path, content=b"{}", headers=own)).status_code == 401
