"""Kills, full disks, servers that are away and deletions in between: no half backup, no half restore."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.integration.backup.stacks import MakeStack, Vault, fill, objects_of, quiet, rows_of
from tests.ports import free_port
from tests.s3_servers import s3_settings
from tests.system.test_full_disk import disk  # noqa: F401 - a fixture
from tidemill.adapters.object_store import ObjectStore, StoreEntry, open_object_store
from tidemill.backup.create import create_backup
from tidemill.backup.manifest import StoredFile
from tidemill.backup.restore import Restore
from tidemill.backup.sealing import Keys, new_identity
from tidemill.backup.stack import Stack
from tidemill.backup.target import BackupTarget, Found
from tidemill.backup.verify import check_store
from tidemill.db.engine import create_session_factory, transaction
from tidemill.features.registry import administration
from tidemill.features.registry.collector import run_collect
from tidemill.features.registry.kinds import CollectPayload
from tidemill.jobs.definition import JobContext
from tidemill.kit.errors import Conflict, NotFound, Unavailable
from tidemill.settings.model import ObjectStoreSettings

_OBJECTS = 300
_TIMEOUT_SECONDS = 240
_LEDGER = "SELECT prediction_id, output::text FROM predictions ORDER BY prediction_id"


def _environment(stack: Stack, tmp_path: Path, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "TIDEMILL_ENVIRONMENT": "local",
        "TIDEMILL_DATABASE__URL": stack.tidemill.url.get_secret_value(),
        "TIDEMILL_MLFLOW__DATABASE_URL": stack.mlflow.url.get_secret_value(),
        "TIDEMILL_OBJECT_STORE__URL": stack.settings.object_store.url,
        "TIDEMILL_BACKUP__URL": f"file://{tmp_path}/backups",
        "TIDEMILL_BACKUP__SCRATCH_DIR": str(tmp_path / "command-scratch"),
        **more,
    }


def _start(stack: Stack, tmp_path: Path, *arguments: str, **environment: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "tidemill.admin", *arguments]
    return subprocess.Popen(
        command, env=_environment(stack, tmp_path, **environment), stderr=subprocess.PIPE, cwd=tmp_path
    )


async def _run(stack: Stack, tmp_path: Path, *arguments: str) -> tuple[int, str]:
    process = _start(stack, tmp_path, *arguments)
    _, err = await asyncio.to_thread(process.communicate, None, _TIMEOUT_SECONDS)
    return process.returncode, err.decode()


async def _kill_once(process: "subprocess.Popen[bytes]", holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        while not await holds():
            assert process.poll() is None, process.communicate()[1].decode()
            await asyncio.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=_TIMEOUT_SECONDS)


async def _holds(store: ObjectStore, prefix: str, count: int) -> bool:
    return len([entry async for entry in store.entries(prefix)]) >= count


async def _fill_much(stack: Stack) -> None:
    await fill(stack)
    for number in range(_OBJECTS):
        await stack.store.put(f"mlflow/1/many/{number}", number.to_bytes(2, "big") * 50_000)


async def test_a_killed_backup_is_none_and_the_next_one_goes_on(
    make_stack: MakeStack, vault: Vault, tmp_path: Path
) -> None:
    stack = make_stack()
    await _fill_much(stack)
    await _kill_once(_start(stack, tmp_path, "backup"), lambda: _holds(vault.target.store, "objects/", 30))
    assert await vault.target.ids() == []
    code, said = await _run(stack, tmp_path, "backup")
    assert code == 0, said
    manifest = await vault.target.manifest((await vault.target.ids())[-1])
    assert manifest.objects.count == _OBJECTS + 3
    assert manifest.objects.copied_count <= _OBJECTS + 3 - 30
    assert (await vault.verify()).ok
    assert list((tmp_path / "command-scratch").iterdir()) == []


async def test_a_killed_restore_can_be_run_again(make_stack: MakeStack, vault: Vault, tmp_path: Path) -> None:
    stack, fresh = make_stack(), make_stack(empty=True)
    await _fill_much(stack)
    await vault.back_up(stack)
    await _kill_once(_start(fresh, tmp_path, "restore"), lambda: _holds(fresh.store, "mlflow/", 30))
    code, said = await _run(fresh, tmp_path, "restore")
    assert code == 0, said
    assert await objects_of(fresh.store) == await objects_of(stack.store)
    assert await rows_of(fresh.tidemill, _LEDGER) == await rows_of(stack.tidemill, _LEDGER)
    code, said = await _run(fresh, tmp_path, "restore")
    assert (code, "is not empty" in said) == (3, True)


async def test_a_restore_that_broke_off_between_the_databases_can_be_run_again(
    make_stack: MakeStack, vault: Vault
) -> None:
    stack, fresh = make_stack(), make_stack(empty=True)
    await fill(stack)
    await vault.back_up(stack)
    losing = Vault(_Losing(vault.target.store, "tidemill.dump"), vault.keys, vault.folder)
    with pytest.raises(NotFound):
        await losing.restore(fresh)
    assert await rows_of(fresh.mlflow, "SELECT name FROM experiments") == [("Default",)]
    await vault.restore(fresh)
    assert await rows_of(fresh.tidemill, "SELECT name FROM models") == [("loans",)]
    assert await rows_of(fresh.tidemill, "SELECT to_regnamespace('tidemill_restore')") == [(None,)]


class _Losing(BackupTarget):
    """Has a file no more, once it was read for the first time."""

    def __init__(self, store: ObjectStore, name: str) -> None:
        super().__init__(store)
        self._name = name
        self._was_read = False

    async def fetch(self, found: Found, path: Path, keys: Keys) -> None:
        if found.key.endswith(self._name):
            if self._was_read:
                raise NotFound("backup_file_missing", f"{found.key} of the backup is missing.")
            self._was_read = True
        await super().fetch(found, path, keys)


class _Paused(BackupTarget):
    """Does something between the dumps and the copying."""

    def __init__(self, store: ObjectStore, between: Callable[[], Awaitable[None]]) -> None:
        super().__init__(store)
        self._between = between

    async def put_file(self, backup_id: str, path: Path, keys: Keys) -> StoredFile:
        if path.name == "golden.ndjson":
            await self._between()
        return await super().put_file(backup_id, path, keys)


async def _collect(stack: Stack) -> dict[str, Any]:
    async with stack.engine() as engine:
        services = SimpleNamespace(store=stack.store, sessions=create_session_factory(engine))
        context = cast("JobContext", SimpleNamespace(services=services))
        return await run_collect(context, CollectPayload(min_age_hours=1e-9))


async def test_deletions_during_a_backup_take_nothing_that_its_dump_names(make_stack: MakeStack, vault: Vault) -> None:
    stack = make_stack()
    keys = await fill(stack)
    await fill(stack, content="that is newer, so that the first version may be deleted")
    collected: list[dict[str, Any]] = []

    async def delete_and_collect() -> None:
        async with stack.engine() as engine, transaction(create_session_factory(engine)) as session:
            await administration.delete_version(session, "loans", 1, "key_test")
        collected.append(await _collect(stack))

    target = _Paused(vault.target.store, delete_and_collect)
    made = await create_backup(stack, target, vault.keys, vault.scratch(), quiet)
    assert collected == [{"held_off_by": "backup"}]
    assert made.manifest.missing == []
    fresh = make_stack(empty=True)
    await vault.restore(fresh)
    assert await fresh.store.exists(keys.bundle)
    assert (await check_store(fresh, vault.scratch(), read=True)).ok
    assert (await _collect(stack))["bundles"] == 1


async def test_a_second_backup_at_the_same_time_is_refused(make_stack: MakeStack, vault: Vault) -> None:
    stack = make_stack()

    async def again() -> None:
        with pytest.raises(Conflict) as refused:
            await vault.back_up(stack)
        assert refused.value.code == "backup_running"

    target = _Paused(vault.target.store, again)
    await create_backup(stack, target, vault.keys, vault.scratch(), quiet)
    assert len(await vault.target.ids()) == 1


class _Vanishing(ObjectStore):
    """Its artifacts are deleted right after they were listed."""

    async def entries(self, prefix: str = "") -> AsyncIterator[StoreEntry]:
        async for entry in super().entries(prefix):
            if entry.key.startswith("mlflow/"):
                await self.delete([entry.key])
            yield entry


async def test_an_artifact_that_is_deleted_meanwhile_is_left_out(make_stack: MakeStack, vault: Vault) -> None:
    stack = make_stack()
    await fill(stack)
    vanishing = Stack(stack.settings, stack.tidemill, stack.mlflow, _Vanishing(stack.store._backend))
    made = await vault.back_up(vanishing)
    assert (made.manifest.objects.count, made.manifest.objects.vanished_count) == (2, 1)
    assert (await vault.verify()).ok


async def test_a_full_target_makes_no_backup_and_the_next_one_works(
    make_stack: MakeStack,
    tmp_path: Path,
    disk: Path,  # noqa: F811 - the fixture
) -> None:
    stack = make_stack()
    await fill(stack)
    for number in range(4):
        await stack.store.put(f"mlflow/1/large/{number}", os.urandom(8 << 20))
    store = open_object_store(ObjectStoreSettings(url=f"file://{disk}/backups"))
    vault = Vault(BackupTarget(store), Keys(None, None), tmp_path / "scratch")
    with pytest.raises(Unavailable) as refused:
        await vault.back_up(stack)
    assert refused.value.code == "disk_full"
    assert await vault.target.ids() == []
    await stack.store.delete([f"mlflow/1/large/{number}" for number in range(4)])
    await store.delete([entry.key async for entry in store.entries("objects/") if entry.size_bytes > 1 << 20])
    await vault.back_up(stack)
    assert (await vault.verify()).ok


async def test_a_full_scratch_disk_is_told_as_such(
    make_stack: MakeStack,
    vault: Vault,
    disk: Path,  # noqa: F811 - the fixture
) -> None:
    stack = make_stack()
    await stack.store.put("mlflow/1/large", os.urandom(32 << 20))
    with pytest.raises(Unavailable) as refused:
        await create_backup(stack, vault.target, vault.keys, disk, quiet)
    assert refused.value.code == "disk_full"
    assert await vault.target.ids() == []


async def test_a_store_or_a_database_that_is_away_makes_no_backup(make_stack: MakeStack, vault: Vault) -> None:
    stack = make_stack()
    away = open_object_store(s3_settings(f"http://127.0.0.1:{free_port()}").model_copy(update={"retries": 0}))
    nowhere = Vault(BackupTarget(away), vault.keys, vault.folder)
    with pytest.raises(Unavailable):
        await nowhere.back_up(stack)
    with pytest.raises(Unavailable):
        await vault.back_up(Stack(stack.settings, stack.tidemill, stack.mlflow, away))
    closed = stack.tidemill.model_copy(
        update={"url": type(stack.tidemill.url)(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/tidemill")}
    )
    with pytest.raises(Unavailable):
        await vault.back_up(Stack(stack.settings, closed, stack.mlflow, stack.store))
    with pytest.raises(Unavailable):
        await vault.back_up(Stack(stack.settings, stack.tidemill, closed, stack.store))
    assert await vault.target.ids() == []


async def test_a_database_that_cannot_be_reached_refuses_a_restore(make_stack: MakeStack, vault: Vault) -> None:
    stack = make_stack()
    made = await vault.back_up(stack)
    closed = stack.tidemill.model_copy(
        update={"url": type(stack.tidemill.url)(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/tidemill")}
    )
    lost = Stack(stack.settings, closed, stack.mlflow, stack.store)
    with pytest.raises(Unavailable):
        await Restore(vault.target, made.manifest, lost, vault.keys, vault.scratch(), quiet).run(replace=False)


_MEASURED = """
import resource, sys
from tidemill.admin.main import app
try:
    app(sys.argv[1:])
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_memory_does_not_grow_with_an_object(make_stack: MakeStack, tmp_path: Path) -> None:
    peaks = []
    identity = tmp_path / "identity"
    identity.write_text(new_identity()[0])
    for size_mb in (16, 320):
        stack = make_stack()
        folder = Path(stack.settings.object_store.url.removeprefix("file://"))
        with (folder / "large").open("wb") as out:
            for _ in range(size_mb):
                out.write(os.urandom(1 << 20))
        place = {
            "TIDEMILL_BACKUP__URL": f"file://{tmp_path}/{size_mb}",
            "TIDEMILL_BACKUP__IDENTITY_FILE": str(identity),
        }
        environment = _environment(stack, tmp_path, **place)
        command = [sys.executable, "-c", _MEASURED, "backup", "--output", "json"]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=600)
        peaks.append(int(done.stdout.splitlines()[-1]))
    assert peaks[1] - peaks[0] < 96 << 20, peaks
