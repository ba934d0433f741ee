"""What the api shows of the whole platform, and what every process counts, on real servers."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import text

from tests.integration.conftest import RunJobs
from tests.integration.ledger_rows import add_version
from tidemill.adapters.mlflow_rest import MlflowRest
from tidemill.adapters.object_store import ObjectStore, open_object_store
from tidemill.api.figures import PlatformFigures
from tidemill.db.engine import SessionFactory, create_engine, create_session_factory, transaction
from tidemill.db.metrics import watch_pool
from tidemill.deps import ApiServices
from tidemill.kit.errors import NotFound, Unavailable
from tidemill.settings.model import DatabaseSettings, ObjectStoreSettings, ObservabilitySettings, Settings
from tidemill.web.certificate import certificate_expiry
from tidemill.web.metrics import create_registry

EXPIRY = datetime(2020, 3, 1, tzinfo=UTC)


@pytest.fixture
def services(settings: Settings, sessions: SessionFactory, store: ObjectStore, mlflow: MlflowRest) -> ApiServices:
    return ApiServices(settings, sessions, store, mlflow, create_registry())


def shown(services: ApiServices, figures: PlatformFigures) -> str:
    registry = CollectorRegistry()
    registry.register(figures)
    return generate_latest(registry).decode()


async def figures_of(services: ApiServices) -> str:
    figures = PlatformFigures(services)
    await figures.refresh()
    return shown(services, figures)


_JOB = text("""
    INSERT INTO jobs (id, kind, queue, status, timeout_seconds, payload, principal, created_at, heartbeat_at)
    VALUES (:id, 'training.run', 'training', :status, 60, '{}', 'key_0', now() - interval '90 seconds',
            now() - make_interval(secs => :silent))
""")


async def test_backlog_open_and_stalled_jobs_and_living_workers_are_shown(
    services: ApiServices, sessions: SessionFactory
) -> None:
    async with transaction(sessions) as session:
        for id_, status, silent in (("job_1", "queued", 0), ("job_2", "running", 0), ("job_3", "running", 60)):
            await session.execute(_JOB, {"id": id_, "status": status, "silent": silent})
        await session.execute(text("INSERT INTO procrastinate_workers DEFAULT VALUES"))
        silent_worker = "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 hour')"
        await session.execute(text(silent_worker))
    found = await figures_of(services)
    assert 'tidemill_job_queue_jobs{queue="training"} 1.0' in found
    age = next(line for line in found.splitlines() if line.startswith("tidemill_job_queue_oldest_seconds{"))
    assert 90 <= float(age.split()[-1]) < 150
    assert 'tidemill_jobs_open{status="queued"} 1.0' in found
    assert 'tidemill_jobs_open{status="running"} 2.0' in found
    assert "tidemill_jobs_stalled 1.0" in found
    assert "tidemill_workers_alive 1.0" in found


async def test_model_versions_and_alias_moves_are_counted_with_bounded_labels(
    services: ApiServices, sessions: SessionFactory, api: httpx.AsyncClient, run_jobs: RunJobs
) -> None:
    async with transaction(sessions) as session:
        await add_version(session)
    moved = await api.put("/api/v1/models/adult-income/aliases/my-own", json={"version": 1, "reason": "a test"})
    assert moved.status_code == 200, moved.text
    found = await figures_of(services)
    assert "tidemill_model_versions 1.0" in found
    assert 'tidemill_alias_moves_total{alias="challenger",kind="registered"} 1.0' in found
    assert 'tidemill_alias_moves_total{alias="other",kind="set"} 1.0' in found
    assert "my-own" not in found
    assert 'tidemill_gate_decisions_total{outcome="passed"} 0.0' in found


async def test_what_does_not_answer_is_shown_as_down_and_old_figures_disappear(
    services: ApiServices, database: DatabaseSettings
) -> None:
    short = services.settings.model_copy(update={"observability": ObservabilitySettings(figures_seconds=1)})
    gone = create_engine(
        database.model_copy(update={"url": type(database.url)("postgresql+psycopg://127.0.0.1:9/none")}), "tests"
    )
    apart = ApiServices(short, create_session_factory(gone), services.store, services.mlflow, services.registry)
    found = await figures_of(apart)
    await gone.dispose()
    assert 'tidemill_dependency_up{dependency="database"} 0.0' in found
    assert 'tidemill_dependency_up{dependency="mlflow"} 0.0' in found
    assert 'tidemill_dependency_up{dependency="object_store"} 1.0' in found
    assert "tidemill_jobs_stalled" not in found
    figures = PlatformFigures(services)
    await figures.refresh()
    assert "tidemill_jobs_stalled 0.0" in shown(services, figures)
    figures._read_at -= 4 * short.observability.figures_seconds + 60  # type: ignore[operator]
    assert "tidemill_jobs_stalled" not in shown(services, figures)
    assert "tidemill_figures_timestamp_seconds" in shown(services, figures)


@pytest.fixture
async def expired_server(tmp_path: Path) -> AsyncIterator[str]:
    """A TLS server whose certificate expired long ago; its address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tidemill.test")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(EXPIRY - timedelta(days=90))
        .not_valid_after(EXPIRY)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_the_expiry_of_a_certificate_is_read_even_when_it_has_passed(
    services: ApiServices, expired_server: str
) -> None:
    assert await certificate_expiry(expired_server) == EXPIRY
    observed = ObservabilitySettings(tls_address=expired_server)
    settings = services.settings.model_copy(update={"observability": observed})
    own = ApiServices(settings, services.sessions, services.store, services.mlflow, services.registry)
    line = f"tidemill_certificate_expiry_timestamp_seconds {EXPIRY.timestamp():.10g}"
    assert line.split(maxsplit=1)[0] in await figures_of(own)


async def test_a_server_without_tls_has_no_expiry() -> None:
    with pytest.raises(OSError, match=r".*"):
        await certificate_expiry("127.0.0.1:9")


async def test_calls_to_the_object_store_are_counted_by_operation_and_outcome(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    store = open_object_store(ObjectStoreSettings(url=f"file://{tmp_path}"), registry)
    await store.put("a", b"1")
    assert await store.get("a") == b"1"
    assert [chunk async for chunk in store.stream("a")] == [b"1"]
    with pytest.raises(NotFound):
        await store.get("b")
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable):
        await store.put("file/below", b"1")
    found = generate_latest(registry).decode()
    calls = {("put", "ok"): 1, ("put", "error"): 1, ("get", "ok"): 2, ("get", "not_found"): 1}
    for (operation, outcome), times in calls.items():
        labels = f'operation="{operation}",outcome="{outcome}"'
        assert f"tidemill_object_store_requests_total{{{labels}}} {times}.0" in found


async def test_calls_to_mlflow_are_counted_without_their_ids(settings: Settings) -> None:
    registry = CollectorRegistry()
    async with MlflowRest(settings.mlflow, registry) as mlflow:
        with pytest.raises(Unavailable):
            await mlflow.get("logged-models/m-0123456789")
    found = generate_latest(registry).decode()
    assert 'tidemill_mlflow_requests_total{operation="logged-models",outcome="error"} 1.0' in found
    assert "m-0123456789" not in found


async def test_connections_in_use_are_shown_while_they_are_used(database: DatabaseSettings) -> None:
    registry, engine = CollectorRegistry(), create_engine(database, "tests")
    watch_pool(registry, engine, database)
    async with engine.connect():
        assert registry.get_sample_value("tidemill_database_connections_in_use") == 1
    assert registry.get_sample_value("tidemill_database_connections_in_use") == 0
    assert registry.get_sample_value("tidemill_database_connections_limit") == 15
    await engine.dispose()


async def test_feedback_and_shipped_rows_are_counted_by_what_became_of_them(
    api: httpx.AsyncClient, sessions: SessionFactory
) -> None:
    async with transaction(sessions) as session:
        await add_version(session)
    item = {"prediction_id": "prd_" + "0" * 32, "truth": ">50K"}
    for _ in range(2):
        assert (await api.post("/api/v1/feedback", json={"items": [item]})).status_code == 200
    segment = await api.post(
        "/api/v1/ledger/segments", content=b"not json\n", headers={"Content-Type": "application/x-ndjson"}
    )
    assert segment.status_code == 200, segment.text
    found = (await api.get("/metrics")).text
    assert 'tidemill_feedback_rows_total{outcome="accepted"} 1.0' in found
    assert 'tidemill_feedback_rows_total{outcome="duplicate"} 1.0' in found
    assert "tidemill_feedback_unmatched_total 2.0" in found
    assert 'tidemill_ledger_rows_total{outcome="rejected"} 1.0' in found
    assert "tidemill_build_info{" in found
