"""Nobody reaches MLflow without a key, on any of its routes, and the platform's own processes do without the api."""

import asyncio
import contextlib
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Send

from tests.integration.conftest import MakeKey
from tests.integration.mlflow_server import MLFLOW_ARTIFACT_BYTES, MLFLOW_TOKEN, mlflow_api_port, mlflow_settings
from tidemill.adapters.mlflow_rest import MlflowRest
from tidemill.api.main import build
from tidemill.auth.scopes import Scope
from tidemill.features.sessions.access import Access
from tidemill.kit.errors import Unavailable
from tidemill.platform.mlflow_access import access_to
from tidemill.platform.mlflow_artifacts import is_within
from tidemill.platform.mlflow_bodies import OTHER_BYTES, MlflowBodyMiddleware
from tidemill.settings.model import MlflowSettings, ObjectStoreSettings, Settings
from tidemill.web.server import server_config

_LIST_ROUTES = """
from mlflow.server import app as flask
from mlflow.server.fastapi_app import app
for rule in flask.url_map.iter_rules():
    for method in rule.methods: print(method, rule.rule)
for path, methods in app.openapi()["paths"].items():
    for method in methods: print(method.upper(), path)
"""
_LOG_A_RUN = """
import mlflow, os, pathlib, sys
folder = pathlib.Path(sys.argv[1])
mlflow.set_experiment("of-a-notebook")
with mlflow.start_run() as run:
    mlflow.log_metric("auc", 0.9)
    mlflow.log_text("first", "notes/text.txt")
    mlflow.pyfunc.log_model(name="model", python_model=lambda model_input: model_input, pip_requirements=[])
found = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="notes", dst_path=str(folder))
assert (pathlib.Path(found) / "text.txt").read_text() == "first"
print(run.info.run_id)
"""
_ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/access/file.bin"


@pytest.fixture
async def api_of_mlflow(settings: Settings, tmp_path: str) -> AsyncIterator[None]:
    """The api where MLflow looks for it."""
    own = settings.model_copy(update={"object_store": ObjectStoreSettings(url=f"file://{tmp_path}/objects")})
    server = uvicorn.Server(server_config(build(own), "127.0.0.1", mlflow_api_port()))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    async with asyncio.timeout(20):
        while not server.started:
            await asyncio.sleep(0.02)
    yield
    server.should_exit = True
    await asyncio.to_thread(thread.join, 20)


def _routes() -> list[tuple[str, str]]:
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    done = subprocess.run(
        [sys.executable, "-c", _LIST_ROUTES], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    lines = {line for line in done.stdout.splitlines() if re.match(r"[A-Z]+ /", line)}
    filled = {(line.split(" ", 1)[0], re.sub(r"[<{][^>}]*[>}]", "x", line.split(" ", 1)[1])) for line in lines}
    return sorted((method, path) for method, path in filled if path != "/health")


def test_no_route_of_mlflow_is_open_and_no_write_is_done_for_a_reader(mlflow_server: str) -> None:
    routes = _routes()
    assert len(routes) > 400
    reader = {"Authorization": f"Bearer {MLFLOW_TOKEN}", "X-Tidemill-Access": "read"}
    writes = 0
    with httpx.Client(base_url=mlflow_server, timeout=30) as http:
        for method, path in routes:
            assert http.request(method, path).status_code == 401, (method, path)
            if access_to(method, path) is Access.WRITE:
                writes += 1
                assert http.request(method, path, headers=reader).status_code == 403, (method, path)
        assert http.get("/health").status_code == 200
        assert http.post("/health").status_code == 401
        assert http.get("/no/such/route").status_code == 401
        browser = http.get("/")
    assert writes > 150
    assert browser.headers["www-authenticate"].startswith("Basic ")
    assert not {method for method, path in routes if access_to(method, path) is Access.READ} & {
        "PUT",
        "PATCH",
        "DELETE",
    }


def _zeros(size_bytes: int) -> Iterator[bytes]:
    """Sent in pieces, without a length."""
    for _ in range(size_bytes // 2**20):
        yield bytes(2**20)


def _announced(url: str, method: str, path: str, size_bytes: int) -> dict[str, Any]:
    """The answer to a request that says how long its body is, and sends none of it."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    with contextlib.closing(connection):
        connection.putrequest(method, path)
        connection.putheader("Authorization", f"Bearer {MLFLOW_TOKEN}")
        connection.putheader("Content-Length", str(size_bytes))
        connection.endheaders()
        return dict(json.loads(connection.getresponse().read()))


def test_a_body_beyond_its_limit_is_refused_whether_or_not_it_says_how_long_it_is(mlflow_server: str) -> None:
    for method, path, size_bytes in (
        ("PUT", _ARTIFACT, MLFLOW_ARTIFACT_BYTES + 1),
        ("PUT", _ARTIFACT.replace("/api/", "/ajax-api/"), MLFLOW_ARTIFACT_BYTES + 1),
        ("POST", "/ajax-api/2.0/mlflow/upload-artifact?run_uuid=a&path=b", OTHER_BYTES + 1),
        ("POST", "/api/2.0/mlflow/runs/create", OTHER_BYTES + 1),
        ("POST", "/v1/traces", OTHER_BYTES + 1),
    ):
        answer = _announced(mlflow_server, method, path, size_bytes)
        assert (answer["status"], answer["code"]) == (413, "body_too_large"), path
    own = {"Authorization": f"Bearer {MLFLOW_TOKEN}"}
    with httpx.Client(base_url=mlflow_server, timeout=30, headers=own) as client:
        assert client.put(_ARTIFACT, content=bytes(2**20)).status_code == 200
        answer = client.put(_ARTIFACT, content=_zeros(MLFLOW_ARTIFACT_BYTES + 2**20)).json()
        assert (answer["status"], answer["error_code"]) == (413, "INVALID_PARAMETER_VALUE")
        assert len(client.get(_ARTIFACT).content) == 2**20  # what was there stays whole


async def test_an_artifact_that_would_take_the_reserve_of_the_disk_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async def taking(_scope: Any, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    free = shutil.disk_usage(tmp_path).free
    app = MlflowBodyMiddleware(taking, 2 * free, tmp_path)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://mlflow") as client:
        assert (await client.put(_ARTIFACT, content=b"small")).status_code == 200
        answer = await client.put(_ARTIFACT, content=b"", headers={"Content-Length": str(free - 2**20)})
        assert (answer.status_code, answer.json()["code"]) == (503, "disk_full")


def test_the_server_has_the_limits_of_the_others(mlflow_server: str) -> None:
    own = {"Authorization": f"Bearer {MLFLOW_TOKEN}"}
    with httpx.Client(base_url=mlflow_server, timeout=30, headers=own) as http:
        assert http.get("/version").status_code == 200
        assert http.get("/version", headers={"X-Long": "x" * 2**17}).status_code == 431
        assert http.get("/version", headers={f"X-{number}": "x" for number in range(300)}).status_code == 431
        assert http.get("/api/2.0/mlflow-artifacts/presigned/x").status_code == 501
        odd = {"Authorization": "Bearer tm_test_x", "Origin": "http://["}
        assert http.post("/api/2.0/mlflow/experiments/create", headers=odd).status_code == 403


@pytest.mark.parametrize(
    "location", ["{folder}", "file://{folder}", "s3://elsewhere/x", "mlflow-artifacts://127.0.0.1:9/x"]
)
def test_artifacts_are_opened_in_the_object_store_alone(mlflow_server: str, tmp_path: Path, location: str) -> None:
    """A writer says that its artifacts lie elsewhere, and plants a link there to what it may not read."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "admin.key").write_text("hunter2")
    own = {"Authorization": f"Bearer {MLFLOW_TOKEN}"}
    with httpx.Client(base_url=mlflow_server, timeout=30, headers=own) as http:
        asked = {"name": f"elsewhere {location}", "artifact_location": location.format(folder=tmp_path)}
        made = http.post("/api/2.0/mlflow/experiments/create", json=asked)
        if "127.0.0.1" in location:  # MLflow itself looks at these
            assert made.status_code == 400
            return
        assert made.status_code == 200
        begun = http.post("/api/2.0/mlflow/runs/create", json={"experiment_id": made.json()["experiment_id"]})
        run = begun.json()["run"]["info"]["run_id"]
        (tmp_path / run).mkdir()
        (tmp_path / run / "artifacts").symlink_to(tmp_path / "secret")
        refused = [
            http.get("/api/2.0/mlflow/artifacts/list", params={"run_id": run}),
            http.get("/get-artifact", params={"run_id": run, "path": "admin.key"}),
            http.post(
                "/ajax-api/2.0/mlflow/upload-artifact", params={"run_uuid": run, "path": "planted"}, content=b"x"
            ),
        ]
    assert [answer.status_code for answer in refused] == [403] * 3, [answer.text for answer in refused]
    assert sorted(path.name for path in (tmp_path / "secret").iterdir()) == ["admin.key"]


def test_the_place_of_a_trace_cannot_be_moved_out_of_the_object_store(mlflow_server: str, tmp_path: Path) -> None:
    (tmp_path / "traces.json").write_text('{"spans": ["hunter2"]}')
    trace, own = "tr-0123456789abcdef0123456789abcdef", {"Authorization": f"Bearer {MLFLOW_TOKEN}"}
    with httpx.Client(base_url=mlflow_server, timeout=30, headers=own) as http:
        made = http.post("/api/2.0/mlflow/experiments/create", json={"name": "moved traces"})
        place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": made.json()}
        info = {"trace_id": trace, "trace_location": place, "request_time": "2026-01-01T00:00:00Z", "state": "OK"}
        assert http.post("/api/3.0/mlflow/traces", json={"trace": {"trace_info": {**info, "tags": {}}}}).is_success
        http.put("/api/2.0/mlflow-artifacts/artifacts/1/a%3F/x", content=b"x")
        for location in (f"{tmp_path}", f"file://{tmp_path}", f"{tmp_path}?", f"mlflow?/../{tmp_path}"):
            tag = {"key": "mlflow.artifactLocation", "value": location}
            assert http.patch(f"/api/2.0/mlflow/traces/{trace}/tags", json=tag).is_success
            found = http.get("/ajax-api/2.0/mlflow/get-trace-artifact", params={"request_id": trace})
            assert found.status_code == 403, (location, found.text)


@pytest.mark.parametrize(
    ("location", "destination", "within"),
    [
        ("mlflow-artifacts:/1/a", "file:///data/objects/mlflow", True),
        ("mlflow-artifacts://host/1/a", "file:///data/objects/mlflow", False),
        ("file:///data/objects/mlflow/1", "file:///data/objects/mlflow", True),
        ("/data/objects/mlflow/1", "file:///data/objects/mlflow", True),
        ("/data/objects/mlflow/../x", "file:///data/objects/mlflow", False),
        ("file:///data/objects/mlflow/%2e%2e/x", "file:///data/objects/mlflow", False),
        ("file://host/data/objects/mlflow", "file:///data/objects/mlflow", False),
        ("/data/objects/mlflow-other", "file:///data/objects/mlflow", False),
        ("/data/objects/mlflow/1/a?/../../../../x", "file:///data/objects/mlflow", False),
        ("/data/objects/mlflow/1/a#/../../../../x", "file:///data/objects/mlflow", False),
        ("file:///data/objects/mlflow/1?/../../x", "file:///data/objects/mlflow", False),
        ("/data/objects/mlflow/%2e%2e/x", "file:///data/objects/mlflow", False),
        ("FILE:///data/objects/mlflow/1", "file:///data/objects/mlflow", False),
        (" file:///data/objects/mlflow/1", "file:///data/objects/mlflow", False),
        ("file:///data/objects/with%20space/1", "file:///data/objects/with%20space", True),
        ("s3://bucket/mlflow/1", "s3://bucket/mlflow", True),
        ("s3://bucket/mlflow/../other", "s3://bucket/mlflow", False),
        ("s3://bucket/mlflow/1?x", "s3://bucket/mlflow", False),
        ("s3://bucket/mlflow-other", "s3://bucket/mlflow", False),
        ("s3://other/mlflow/1", "s3://bucket/mlflow", False),
        ("gs://bucket/mlflow/1", "s3://bucket/mlflow", False),
        ("/etc", "s3://bucket/mlflow", False),
        ("http://[", "s3://bucket/mlflow", False),
    ],
)
def test_a_location_is_within_the_object_store_or_refused(location: str, destination: str, within: bool) -> None:
    assert is_within(location, destination) is within


@pytest.mark.usefixtures("api_of_mlflow")
async def test_a_key_does_in_mlflow_what_its_scopes_say_until_it_is_revoked(
    mlflow_server: str, make_key: MakeKey, api: httpx.AsyncClient
) -> None:
    writer, reader = await make_key(Scope.MLFLOW_WRITE), await make_key(Scope.MLFLOW_READ)
    stranger = await make_key(Scope.PREDICT)
    async with httpx.AsyncClient(base_url=mlflow_server, timeout=30) as http:

        async def ask(key: str, method: str, path: str, content: bytes | None = None) -> int:
            answer = await http.request(method, path, content=content, auth=("anybody", key))
            return answer.status_code

        assert await ask(writer, "PUT", _ARTIFACT, b"first") == 200
        assert await ask(reader, "PUT", _ARTIFACT, b"second") == 403
        assert await ask(stranger, "GET", _ARTIFACT) == 403
        assert (await http.get(_ARTIFACT, headers={"Authorization": f"Bearer {reader}"})).content == b"first"
        search = await http.post(
            "/api/2.0/mlflow/experiments/search", json={"max_results": 1}, auth=("anybody", reader)
        )
        assert search.status_code == 200
        foreign = {"Origin": "https://elsewhere", "Sec-Fetch-Site": "cross-site"}
        planted = await http.put(_ARTIFACT, content=b"x", auth=("anybody", writer), headers=foreign)
        assert planted.status_code == 403
        keys = (await api.get("/api/v1/keys")).json()["items"]
        ids = {tuple(key["scopes"]): key["id"] for key in keys}
        await api.post(f"/api/v1/keys/{ids['mlflow:write',]}:revoke")
        deadline = time.monotonic() + 60
        while await ask(writer, "PUT", _ARTIFACT, b"third") != 401:
            assert time.monotonic() < deadline
        assert (await http.get(_ARTIFACT, auth=("anybody", reader))).content != b"second"


async def test_without_the_api_keys_wait_and_the_platforms_own_processes_go_on(
    mlflow_server: str, make_key: MakeKey
) -> None:
    search = "/api/2.0/mlflow/experiments/search?max_results=1"
    async with httpx.AsyncClient(base_url=mlflow_server, timeout=30) as http:
        waiting = await http.get(search, auth=("anybody", await make_key(Scope.MLFLOW_WRITE)))
        assert (waiting.status_code, waiting.headers["retry-after"]) == (503, "2")
        assert (await http.get(search, auth=("platform", MLFLOW_TOKEN))).status_code == 200


async def test_a_token_that_mlflow_does_not_know_is_told_to_whoever_runs_the_platform(mlflow_server: str) -> None:
    wrong = MlflowSettings.model_validate({"url": mlflow_server, "token": "token-of-before"})
    async with MlflowRest(wrong) as mlflow:
        with pytest.raises(Unavailable, match="token"):
            await mlflow.get("experiments/search", max_results=1)
        with pytest.raises(Unavailable, match="token"):
            await mlflow.version()
        assert not await mlflow.healthy()
    async with MlflowRest(mlflow_settings(mlflow_server)) as mlflow:
        assert await mlflow.healthy()


@pytest.mark.usefixtures("api_of_mlflow")
async def test_a_notebook_logs_a_run_with_a_model_by_its_key(
    mlflow_server: str, make_key: MakeKey, tmp_path: str
) -> None:
    environment = {
        **os.environ, "MLFLOW_TRACKING_URI": mlflow_server, "MLFLOW_TRACKING_TOKEN": await make_key(Scope.MLFLOW_WRITE),
        "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet",
    }  # fmt: skip
    command = [sys.executable, "-c", _LOG_A_RUN, str(tmp_path)]
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
