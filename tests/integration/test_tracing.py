"""Traces of real processes, read by a collector: from a caller's request through the api to the worker that did it."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.integration.conftest import MakeKey
from tests.integration.otlp_receiver import ReceivedSpan, Receiver, otlp_receiver
from tests.ports import free_port
from tidemill.kit.errors import Invalid
from tidemill.settings.model import DatabaseSettings
from tidemill.tracing.setup import tracing, wanted

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"
SECRET = "Rumpelstilzchen"


@asynccontextmanager
async def process(name: str, environment: dict[str, str], log: Path) -> AsyncIterator[str]:
    """A process of the platform, alive; its address. Ended in order, so that it sends what it still holds."""
    port = free_port()
    environment = os.environ | environment | {f"TIDEMILL_{name.upper()}__PORT": str(port), "PYTHONFAULTHANDLER": "1"}
    complaints = log.with_suffix(".stderr")
    with log.open("wb") as out, complaints.open("wb") as err:
        command = [sys.executable, "-m", f"tidemill.{name}"]
        started = await asyncio.create_subprocess_exec(*command, env=environment, stdout=out, stderr=err)
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient() as http, asyncio.timeout(60):
            while started.returncode is None:
                try:
                    if (await http.get(f"{url}/readyz")).status_code == 200:
                        break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        yield url
    finally:
        if started.returncode is None:
            started.send_signal(signal.SIGTERM)
        code = await ended(started)
        assert code == 0, f"{name}: {code}\n{log.read_text()}\n{complaints.read_text()}"


async def ended(started: asyncio.subprocess.Process) -> int:
    """The exit code; a process that does not end is made to write down where it hangs."""
    with contextlib.suppress(TimeoutError):
        return await asyncio.wait_for(started.wait(), 40)
    started.send_signal(signal.SIGABRT)
    return await asyncio.wait_for(started.wait(), 10)


async def push_and_wait(url: str, key: str) -> str:
    """A dataset pushed by a caller with a trace of its own; the job that read it, once it has ended."""
    headers = {"Authorization": f"Bearer {key}", "traceparent": TRACEPARENT}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client, asyncio.timeout(90):
        path = "/api/v1/datasets/people/versions?filename=people.csv"
        answer = await client.post(path, content=f"name,age\n{SECRET},3\n", headers={"content-type": "text/csv"})
        assert answer.status_code == 202, answer.text
        job_id = str(answer.json()["job_id"])
        del client.headers["traceparent"]
        while (await client.get(f"/api/v1/jobs/{job_id}")).json()["status"] not in ("succeeded", "failed"):
            await asyncio.sleep(0.1)
        return job_id


@pytest.fixture
def environment(database: DatabaseSettings, tmp_path: Path) -> dict[str, str]:
    return {
        "TIDEMILL_ENVIRONMENT": "test",
        "TIDEMILL_DATABASE__URL": database.url.get_secret_value(),
        "TIDEMILL_OBJECT_STORE__URL": f"file://{tmp_path}/objects",
        "TIDEMILL_WORKER__SCRATCH_DIR": str(tmp_path / "scratch"),
    }


def only(spans: list[ReceivedSpan], service: str, name: str) -> ReceivedSpan:
    found = [span for span in spans if (span.service, span.span.name) == (f"tidemill-{service}", name)]
    assert len(found) == 1, sorted({f"{span.service}: {span.span.name}" for span in spans})
    return found[0]


async def traced_push(receiver: Receiver, environment: dict[str, str], key: str, folder: Path) -> str:
    more = environment | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(process("api", more, folder / "api.log"))
        await stack.enter_async_context(process("worker", more, folder / "worker.log"))
        return await push_and_wait(url, key)


async def test_one_trace_goes_from_the_caller_through_the_api_to_the_workers_job(
    environment: dict[str, str], make_key: MakeKey, tmp_path: Path
) -> None:
    with otlp_receiver() as receiver:
        job_id = await traced_push(receiver, environment, await make_key(), tmp_path)
    mine = [span for span in receiver.spans() if span.trace_id == TRACE]
    request = only(mine, "api", "POST /api/v1/datasets/{name}/versions")
    assert (request.span.kind, request.span.parent_span_id.hex()) == (Span.SPAN_KIND_SERVER, CALLER)
    enqueue = only(mine, "api", "enqueue datasets.ingest")
    assert enqueue.span.parent_span_id == request.span.span_id
    job = only(mine, "worker", "job datasets.ingest")
    assert (job.span.kind, job.span.parent_span_id) == (Span.SPAN_KIND_CONSUMER, enqueue.span.span_id)
    assert job.attributes["tidemill.job.id"] == job_id
    below = {span.span.name for span in mine if span.span.parent_span_id == job.span.span_id}
    assert {"postgresql UPDATE", "compute tidemill.training.ingest.lean:normalise"} <= below
    assert any(name.startswith("object store ") for name in below)
    _logs_name_the_trace(tmp_path)
    _nothing_of_anyones_data_is_sent(receiver)
    _polling_makes_no_traces(receiver)


def _logs_name_the_trace(folder: Path) -> None:
    for process_name, words in (("api", "Request"), ("worker", "Job ended")):
        lines = [json.loads(line) for line in (folder / f"{process_name}.log").read_text().splitlines()]
        assert any(line["msg"] == words and line.get("trace_id") == TRACE for line in lines), process_name


def _nothing_of_anyones_data_is_sent(receiver: Receiver) -> None:
    everything = b"".join(receiver.bodies)
    assert SECRET.encode() not in everything
    assert b"people.csv" not in everything


def _polling_makes_no_traces(receiver: Receiver) -> None:
    """Every trace begins with a request or a job; heartbeats, sweeps and health checks are none."""
    roots = {span.span.name for span in receiver.spans() if not span.span.parent_span_id}
    assert all(name.startswith(("GET /api/", "job ")) for name in roots), roots


async def test_a_collector_that_is_away_costs_nothing_but_the_traces(
    environment: dict[str, str], make_key: MakeKey, tmp_path: Path
) -> None:
    more = environment | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    async with process("api", more, tmp_path / "api.log") as url, httpx.AsyncClient(base_url=url) as client:
        headers = {"Authorization": f"Bearer {await make_key()}", "traceparent": "nonsense"}
        assert (await client.get("/api/v1/jobs", headers=headers)).status_code == 200


@pytest.mark.parametrize("module", ["tidemill.api.main", "tidemill.model_server.main", "tidemill.worker.main"])
def test_nothing_of_it_is_loaded_when_it_is_off(module: str) -> None:
    code = f"import sys, {module}; print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_opentelemetrys_own_variables_turn_it_on(environ: dict[str, str], expected: bool) -> None:
    assert wanted(environ) is expected


def test_another_protocol_is_refused_rather_than_ignored() -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with pytest.raises(Invalid, match="http/protobuf"):
        wanted(environ)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    monkeypatch.delitem(sys.modules, "tidemill.tracing.export", raising=False)
    with pytest.raises(SystemExit) as ended, tracing("api", "test"):
        pass
    assert ended.value.code == 2
    assert "tidemill[tracing]" in capsys.readouterr().err
