"""`tidemill doctor`: each part by itself, and what to do about it."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from tests.disks import small_disk
from tests.integration.conftest import LiveApi, MakeKey, RunCli
from tests.integration.mlflow_server import mlflow_server, mlflow_settings  # noqa: F401 - a fixture
from tests.s3_servers import s3_settings
from tidemill.adapters.mlflow_rest import MlflowRest
from tidemill.adapters.object_store import ObjectStore, open_object_store
from tidemill.auth.scopes import Scope
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.backups import BackupRun
from tidemill.db.tables.deployments import ModelServer
from tidemill.features.health import database, machine, servers
from tidemill.features.health.service import Parts, check_all
from tidemill.kit.clock import utc_now
from tidemill.schemas.health import CheckResult
from tidemill.settings.model import ModelServerSettings, Settings


async def _doctor(run_cli: RunCli, **environment: str) -> tuple[int, dict[str, CheckResult]]:
    own = {"TIDEMILL_MODEL_SERVER_URL": "http://127.0.0.1:9", **environment}
    code, out, err = await run_cli("--output", "json", "doctor", environment=own)
    assert "Traceback" not in err
    return code, {each["part"]: CheckResult.model_validate(each) for each in json.loads(out)}


async def test_what_works_is_ok_and_what_does_not_says_what_to_do(run_cli: RunCli) -> None:
    code, found = await _doctor(run_cli)
    assert code == 1
    assert {part for part in ("settings", "api", "schema", "object store", "queue") if found[part].state == "ok"} == {
        "settings",
        "api",
        "schema",
        "object store",
        "queue",
    }
    for part in ("mlflow", "workers", "model servers", "model server"):
        assert found[part].state == "problem", found[part]
        assert found[part].advice


async def test_an_api_that_answers_at_a_shared_address_is_no_model_server(run_cli: RunCli, live_api: LiveApi) -> None:
    found = (await _doctor(run_cli, TIDEMILL_MODEL_SERVER_URL=live_api.url))[1]
    assert (found["api"].state, found["model server"].state) == ("ok", "problem")


async def test_an_api_that_is_away_is_one_problem(run_cli: RunCli) -> None:
    code, found = await _doctor(run_cli, TIDEMILL_URL="http://127.0.0.1:9")
    assert (code, found["api"].state) == (1, "problem")
    assert "schema" not in found


async def test_a_key_that_may_not_ask_and_a_wrong_setting_are_told(run_cli: RunCli, make_key: MakeKey) -> None:
    code, found = await _doctor(
        run_cli, TIDEMILL_API_KEY=await make_key(Scope.PREDICT), TIDEMILL_WORKER__CONCURRENCY="none"
    )
    assert (code, found["api"].state, found["settings"].state) == (1, "problem", "problem")
    assert "scope" in found["api"].detail


async def test_key_files_that_others_can_read_are_a_problem(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "tidemill-data").mkdir()
    key = tmp_path / "tidemill-data" / "admin.key"
    key.write_text("tm_x")
    key.chmod(0o644)
    assert (await _doctor(run_cli))[1]["key files"].state == "problem"
    key.chmod(0o600)
    assert (await _doctor(run_cli))[1]["key files"].state == "ok"


async def test_what_was_set_aside_is_told_by_name(run_cli: RunCli, tmp_path: Path) -> None:
    kept = tmp_path / "tidemill-data" / "quarantine"
    kept.mkdir(parents=True)
    assert "set aside" not in (await _doctor(run_cli))[1]
    (kept / "0123-admin.key").write_text("rubbish")
    found = (await _doctor(run_cli))[1]["set aside"]
    assert (found.state, "0123-admin.key" in found.detail) == ("warning", True)


async def test_only_admins_may_ask(anonymous_api: httpx.AsyncClient, make_key: MakeKey, live_api: LiveApi) -> None:
    assert (await anonymous_api.get("/api/v1/health/checks")).status_code == 401
    key = await make_key(Scope.DATASETS_WRITE)
    refused = await anonymous_api.get("/api/v1/health/checks", headers={"Authorization": f"Bearer {key}"})
    assert refused.status_code == 403


async def test_an_old_schema_is_a_problem(sessions: SessionFactory) -> None:
    async with transaction(sessions) as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    assert (await database.check_schema(sessions)).state == "problem"


@pytest.mark.parametrize(("hours", "state"), [(1, "ok"), (40, "warning"), (100, "problem")])
async def test_a_late_backup_is_told(sessions: SessionFactory, hours: float, state: str) -> None:
    assert (await database.check_backup(sessions, 24)).state == "warning"
    moment = utc_now() - timedelta(hours=hours)
    async with transaction(sessions) as session:
        session.add(
            BackupRun(id="bkr_1", kind="backup", started_at=moment, finished_at=moment, succeeded=True, detail={})
        )
    assert (await database.check_backup(sessions, 24)).state == state


async def test_what_lies_aside_on_a_model_server_is_told_with_what_it_takes_of_the_budget(
    sessions: SessionFactory,
) -> None:
    report = {"server_id": "ms_1", "version": "1", "started_at": utc_now().isoformat(), "deployments": []}
    for kind, told in (
        ({"ledger_rejected_rows": 3}, "3 rows set aside"),
        ({"ledger_retry_rows": 4}, "4 rows waiting to be shipped again"),
        ({"ledger_lost_rows": 5}, "5 answered rows lost"),
        ({"quarantined_files": 6}, "6 files in quarantine"),
    ):
        async with transaction(sessions) as session:
            own = report | kind | {"ledger_set_aside_bytes": 4096}
            await session.merge(ModelServer(id="ms_1", seen_at=utc_now(), report=own))
        found = await database.check_ledger(sessions)
        assert (found.state, found.detail) == ("problem", f"{told}; 4096 bytes of the ledger's budget.")


async def test_a_store_that_is_away_does_not_hide_the_other_parts(
    settings: Settings, sessions: SessionFactory, mlflow: MlflowRest
) -> None:
    away = open_object_store(s3_settings("http://127.0.0.1:9"))
    found = {each.part: each.state for each in await check_all(Parts(settings, sessions, away, mlflow))}
    assert (found["object store"], found["schema"]) == ("problem", "ok")


async def test_the_probe_leaves_nothing_in_the_store(store: ObjectStore) -> None:
    assert (await servers.check_store(store)).state == "ok"
    assert await store.list("") == []


async def test_the_version_of_mlflow_is_compared(mlflow_server: str) -> None:  # noqa: F811 - the fixture
    async with MlflowRest(mlflow_settings(mlflow_server)) as mlflow:
        assert (await servers.check_mlflow(mlflow)).state == "ok"


async def test_open_secret_files_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o644)
    monkeypatch.setenv("TIDEMILL_MODEL_SERVER__KEY_FILE", str(secret))
    found = await machine.check_secrets()
    assert (found.state, "TIDEMILL_MODEL_SERVER__KEY_FILE" in found.detail) == ("warning", True)


async def test_a_certificate_that_cannot_be_read_is_a_problem() -> None:
    assert (await servers.check_certificate("127.0.0.1:9")).state == "problem"
    assert (await servers.check_certificate(None)).state == "ok"


async def test_the_disk_that_is_worst_off_is_told_by_its_place_for_bytes_and_for_files(tmp_path: Path) -> None:
    with small_disk(4 * 2**20, most_files=100) as disk:
        settings = Settings(data_dir=tmp_path, model_server=ModelServerSettings(state_dir=disk.path / "not-yet"))
        assert str(disk.path) not in (await machine.check_disk(settings)).detail
        disk.fill()
        full = await machine.check_disk(settings)
        assert (full.state, f"free where {disk.path} lies" in full.detail) == ("problem", True)
        disk.free()
        for number in range(98):
            (disk.path / str(number)).touch()
        crowded = await machine.check_disk(settings)
        assert (crowded.state, "files are free" in crowded.detail) == ("problem", True)


@pytest.mark.parametrize(
    ("checks", "notices", "state", "words"),
    [
        ({"disk": False}, {"api_reached": True}, "problem", "not ready: its disk takes no rows"),
        ({"disk": True}, {"ledger_ships": False}, "warning", "answers, but its predictions are not shipped"),
        ({"disk": True}, {"ledger_ships": True}, "ok", "It answers."),
        (None, None, "problem", "does not answer as a model server does"),
    ],
)
async def test_what_a_model_server_says_of_itself_is_told_in_words(
    run_cli: RunCli, checks: dict[str, bool] | None, notices: dict[str, bool] | None, state: str, words: str
) -> None:
    page = json.dumps({"status": "ok", "checks": checks, "notices": notices} if checks else "hello").encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        code = b"200" if checks is None or all(checks.values()) else b"503"
        writer.write(b"HTTP/1.1 %s x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (code, len(page)) + page)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        found = (await _doctor(run_cli, TIDEMILL_MODEL_SERVER_URL=url))[1]["model server"]
    assert (found.state, words in found.detail) == (state, True), found
