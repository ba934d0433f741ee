"""The restore drill: the latest backup into a scratch stack, and its golden predictions asked again.

The scratch stack has databases of its own on the given PostgreSQL server and a folder as object store; all of it goes
away afterwards, and what a killed drill left is removed by the next one.
"""

import asyncio
import json
import math
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg import sql

from tidemill.adapters.object_store import open_object_store
from tidemill.admin.processes import ScratchPlatform, scratch_platform
from tidemill.backup.create import Say, one_at_a_time
from tidemill.backup.golden import GoldenRow, read_sample
from tidemill.backup.manifest import Manifest
from tidemill.backup.restore import Restore
from tidemill.backup.sealing import Keys
from tidemill.backup.stack import Stack, with_name, with_url
from tidemill.backup.target import BackupTarget, found_file
from tidemill.backup.verify import check_store
from tidemill.db.engine import conninfo
from tidemill.kit.errors import Unavailable
from tidemill.settings.model import DatabaseSettings, ObjectStoreSettings

_PREFIX = "tidemill_drill_"
_DEPLOYMENT = "drill"
_LOAD_TIMEOUT_SECONDS = 300
_POLL_SECONDS = 0.2
_ROUNDING = 1e-12


@dataclass(frozen=True)
class VersionDrill:
    """One model version's golden predictions."""

    reference: str
    rows: int
    identical: int
    """Answered with the same bytes."""
    rounded: int
    """Equal but for the last digit of a number: linear algebra may add in another order in a batch of another size."""
    differing: int
    error: str | None = None


@dataclass(frozen=True)
class DrillResult:
    backup_id: str
    dangling: int
    """Objects that restored rows name and the restored store lacks."""
    versions: list[VersionDrill]

    @property
    def passed(self) -> bool:
        return self.dangling == 0 and all(each.error is None and each.differing == 0 for each in self.versions)


@dataclass(frozen=True)
class Drill:
    """One drill; ``folder`` is empty scratch with room for the whole store."""

    stack: Stack
    target: BackupTarget
    manifest: Manifest
    keys: Keys
    folder: Path
    say: Say

    async def run(self) -> DrillResult:
        """Raises as a restore does, and Unavailable when the scratch stack does not start."""
        async with self.stack.engine() as engine, one_at_a_time(engine), self._scratch_stack() as scratch:
            working = self._folder("restoring")
            await Restore(self.target, self.manifest, scratch, self.keys, working, self.say).run(replace=False)
            dangling = (await check_store(scratch, self._folder("checking"), read=False)).finding_count
            sample = self.folder / "golden.ndjson"
            await self.target.fetch(found_file(self.manifest, self.manifest.golden.file), sample, self.keys)
            self.say("asking the golden predictions again")
            await _without_deployments(scratch)
            async with scratch_platform(scratch, self._folder("processes")) as platform:
                versions = [await _repeat(platform, reference, rows) for reference, rows in read_sample(sample)]
        return DrillResult(self.manifest.id, dangling, versions)

    def _folder(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir()
        return path

    @asynccontextmanager
    async def _scratch_stack(self) -> AsyncIterator[Stack]:
        settings = self.stack.settings
        server = settings.backup.drill_database_url
        database = with_url(settings.database, server.get_secret_value()) if server else settings.database
        name = f"{_PREFIX}{secrets.token_hex(4)}"
        objects = ObjectStoreSettings(url=f"file://{self.folder}/objects")
        await asyncio.to_thread(_make, database, name)
        try:
            tidemill = with_name(database, name)
            own = settings.model_copy(update={"database": tidemill, "object_store": objects})
            yield Stack(own, tidemill, with_name(database, f"{name}_mlflow"), open_object_store(objects))
        finally:
            await asyncio.to_thread(_drop_all, database)


def _make(server: DatabaseSettings, name: str) -> None:
    """Two empty databases; those of drills that were killed go first. Raises Unavailable when it may not."""
    _drop_all(server)
    with _connected(server) as connection:
        for each in (name, f"{name}_mlflow"):
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(each)))


def _drop_all(server: DatabaseSettings) -> None:
    with _connected(server) as connection:
        query = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
        for (name,) in connection.execute(query, (_PREFIX,)).fetchall():
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _connected(server: DatabaseSettings) -> "psycopg.Connection[tuple[Any, ...]]":
    try:
        return psycopg.connect(conninfo(server), autocommit=True, connect_timeout=server.connect_timeout_seconds)
    except psycopg.OperationalError as error:
        raise Unavailable("database_unavailable", "The PostgreSQL server of the drill cannot be reached.") from error


async def _without_deployments(scratch: Stack) -> None:
    """The drill serves one version at a time, whatever was deployed."""
    async with scratch.engine() as engine, engine.begin() as connection:
        await connection.exec_driver_sql("DELETE FROM deployments")


async def _repeat(platform: ScratchPlatform, reference: str, rows: list[GoldenRow]) -> VersionDrill:
    try:
        await _serve(platform, reference)
        answers = await _predict(platform, rows)
        counts = Counter[str]()
        for row, answer in zip(rows, answers, strict=True):
            verdict = compare(row.output, answer)
            if verdict != "identical":  # recorded in a batch of another size, perhaps of this row alone
                alone = compare(row.output, (await _predict(platform, [row]))[0])
                verdict = alone if alone == "identical" or verdict == "differing" else verdict
            counts[verdict] += 1
    except (httpx.HTTPError, Unavailable) as error:
        return VersionDrill(reference, len(rows), 0, 0, len(rows), f"{type(error).__name__}: {error}"[:300])
    return VersionDrill(reference, len(rows), counts["identical"], counts["rounded"], counts["differing"])


async def _serve(platform: ScratchPlatform, reference: str) -> None:
    """Deploy ``reference`` and wait until the model server answers with it."""
    applied = await platform.api.put(f"/api/v1/deployments/{_DEPLOYMENT}", json={"model": reference})
    applied.raise_for_status()
    try:
        async with asyncio.timeout(_LOAD_TIMEOUT_SECONDS):
            while (status := await _status(platform))["state"] != "ready":
                failed = next((each for each in status["servers"] if each["state"] == "failed"), None)
                if failed is not None:
                    raise Unavailable("model_not_loadable", str(failed.get("error_detail")))
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise Unavailable("model_not_ready", f"The model was not loaded in {_LOAD_TIMEOUT_SECONDS} s.") from None


async def _status(platform: ScratchPlatform) -> dict[str, Any]:
    answer = await platform.api.get(f"/api/v1/deployments/{_DEPLOYMENT}/status")
    answer.raise_for_status()
    return dict(answer.json())


async def _predict(platform: ScratchPlatform, rows: list[GoldenRow]) -> list[Any]:
    body = {"inputs": [row.inputs for row in rows]}
    answer = await platform.model_server.post(f"/api/v1/deployments/{_DEPLOYMENT}/predict", json=body)
    answer.raise_for_status()
    return [
        {name: value for name, value in prediction.items() if name != "prediction_id"}
        for prediction in answer.json()["predictions"]
    ]


def compare(recorded: Any, answered: Any) -> str:
    """``identical``, ``rounded`` or ``differing``."""
    if json.dumps(recorded, sort_keys=True) == json.dumps(answered, sort_keys=True):
        return "identical"
    return "rounded" if _is_close(recorded, answered) else "differing"


def _is_close(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_close(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_close, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
    return type(one) is type(other) and bool(one == other)
