"""The process that backs up by the clock."""

import asyncio
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from tests.integration.backup.stacks import MakeStack, Vault, fill, quiet
from tests.integration.backup.test_interruptions import _start
from tests.ports import free_port
from tidemill.admin.schedule import BackupSchedule, Turn, backup_due, drill_due
from tidemill.admin.schedule_metrics import BackupMetrics
from tidemill.admin.work import Work
from tidemill.settings.model import BackupSettings

_TIMEOUT_SECONDS = 240
_SUCCESS = "tidemill_backup_last_success_timestamp_seconds"
_NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


async def _figures(port: int) -> dict[str, float]:
    async with httpx.AsyncClient() as client:
        try:
            text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
        except httpx.TransportError:
            return {}
    lines = (
        line.rpartition(" ") for line in text.splitlines() if line.startswith(("tidemill_backup", "tidemill_rest"))
    )
    return {name: float(value) for name, _, value in lines}


async def _until(process: "subprocess.Popen[bytes]", port: int, holds: Callable[[dict[str, float]], bool]) -> None:
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        while not holds(await _figures(port)):
            assert process.poll() is None
            await asyncio.sleep(0.1)


def _stop(process: "subprocess.Popen[bytes]") -> int:
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    return process.returncode


async def test_it_backs_up_at_once_and_a_restart_remembers(make_stack: MakeStack, vault: Vault, tmp_path: Path) -> None:
    stack, port = make_stack(), free_port()
    await fill(stack)
    quiet_time = {"TIDEMILL_BACKUP__PORT": str(port), "TIDEMILL_BACKUP__DRILL_EVERY_HOURS": "0"}
    for _ in range(2):
        process = _start(stack, tmp_path, "backup-schedule", **quiet_time)
        await _until(process, port, lambda figures: figures.get(_SUCCESS, 0) > 0)
        assert _stop(process) == 0
    assert len(await vault.target.ids()) == 1


async def test_a_failure_is_counted_and_does_not_end_it(make_stack: MakeStack, tmp_path: Path) -> None:
    stack, port = make_stack(), free_port()
    away = {
        "TIDEMILL_BACKUP__PORT": str(port),
        "TIDEMILL_BACKUP__URL": "s3://nowhere",
        "TIDEMILL_BACKUP__ENDPOINT": f"http://127.0.0.1:{free_port()}",
        "TIDEMILL_BACKUP__RETRIES": "0",
        "TIDEMILL_BACKUP__ACCESS_KEY_ID": "a",
        "TIDEMILL_BACKUP__SECRET_ACCESS_KEY": "b",
    }
    process = _start(stack, tmp_path, "backup-schedule", **away)
    await _until(process, port, lambda figures: figures.get("tidemill_backup_failures_total", 0) >= 1)
    assert (await _figures(port))[_SUCCESS] == 0
    assert _stop(process) == 0


async def test_a_backup_that_was_made_by_hand_counts(make_stack: MakeStack, vault: Vault) -> None:
    stack = make_stack()
    mlflow = stack.settings.mlflow.model_copy(update={"database_url": stack.mlflow.url})
    work = Work(stack.settings.model_copy(update={"mlflow": mlflow}), vault.target, vault.keys, quiet)
    registry = CollectorRegistry()
    schedule = BackupSchedule(work, BackupMetrics(registry))
    schedule.turns[0].failed(_NOON)
    await schedule.look()
    assert (schedule.turns[0].last_success, registry.get_sample_value(_SUCCESS)) == (None, 0)
    made = await work.back_up()
    await schedule.look()
    assert schedule.turns[0].failures == 0
    assert (registry.get_sample_value(_SUCCESS) or 0) >= made.manifest.finished_at.timestamp()


@pytest.mark.parametrize(
    ("settings", "last", "due"),
    [
        ({}, None, _NOON),
        ({"every_hours": 6}, _NOON - timedelta(hours=2), _NOON + timedelta(hours=4)),
        ({"at": "13:30"}, _NOON - timedelta(hours=2), _NOON + timedelta(hours=1.5)),
        ({"at": "02:00"}, _NOON - timedelta(hours=2), _NOON + timedelta(hours=14)),
        ({"at": "02:00"}, _NOON - timedelta(days=2), _NOON - timedelta(hours=34)),
    ],
)
def test_when_a_backup_is_due(settings: dict[str, object], last: datetime | None, due: datetime) -> None:
    assert backup_due(BackupSettings.model_validate(settings), last, _NOON) == due


def test_drills_can_be_turned_off() -> None:
    assert drill_due(BackupSettings(drill_every_hours=0), None, _NOON) is None
    assert drill_due(BackupSettings(), None, _NOON) == _NOON


async def test_failures_wait_longer_and_longer_but_at_most_an_hour() -> None:
    async def work() -> bool:
        return True

    turn = Turn("backup", lambda last: last or _NOON, work)
    waits = []
    for _ in range(8):
        turn.failed(_NOON)
        next_at = turn.next_at()
        assert next_at is not None
        waits.append((next_at - _NOON).total_seconds() / 60)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    turn.succeeded(_NOON)
    assert turn.next_at() == _NOON
