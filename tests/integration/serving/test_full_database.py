"""PostgreSQL's disk that is really full."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace

import httpx
import psycopg
import pytest

from tests.conftest import libpq, with_database
from tests.disks import SmallDisk, small_disk
from tests.integration.serving.conftest import Server, until
from tests.integration.serving.models import Models
from tests.integration.serving.test_exactly_once import recorded
from tests.integration.serving.test_full_disk import ask, serving
from tests.integration.serving.test_ledger import ledger_row
from tidemill.db.engine import SessionFactory
from tidemill.features.health.database import check_space
from tidemill.features.predictions import ingest
from tidemill.features.predictions.rows import read_lines
from tidemill.kit.clock import utc_now
from tidemill.platform import postgres
from tidemill.settings.model import DatabaseSettings


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with small_disk(48 * 2**20) as made:
        yield made


@pytest.fixture
def database(disk: SmallDisk, postgres_url: str, migrated_template: str) -> Iterator[DatabaseSettings]:
    """A migrated database whose tables lie on the small disk; the log of changes does not."""
    folder = disk.path / "database"
    folder.mkdir(mode=0o700)
    user = postgres.system_user()
    if user is not None:
        shutil.chown(folder, user, user)
    with psycopg.connect(libpq(postgres_url), autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
        connection.execute(f"CREATE DATABASE on_small_disk TEMPLATE {migrated_template} TABLESPACE small")
        yield DatabaseSettings(url=with_database(postgres_url, "on_small_disk"))
        connection.execute("DROP DATABASE on_small_disk WITH (FORCE)")
        connection.execute("DROP TABLESPACE small")


async def test_rows_wait_while_postgresql_has_no_space_and_arrive_once_when_it_has(
    disk: SmallDisk, control: httpx.AsyncClient, server: Server, models: Models, sessions: SessionFactory
) -> None:
    await serving(control, server, models)
    await server.until_shipped()
    before = set(await recorded(sessions))
    disk.fill()
    answered: list[str] = []
    for _ in range(4):
        assert await ask(server, answered, 3) == []
    headers = {"Authorization": f"Bearer {server.settings['key']}", "Content-Type": "application/x-ndjson"}
    content = b"\n".join(json.dumps(ledger_row(inputs={"x": "x" * 5000, "n": n})).encode() for n in range(100))
    refused = await control.post("/api/v1/ledger/segments", content=content, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (503, "disk_full"), refused.text
    told = await check_space(sessions)
    assert (told.state, "no space left" in told.detail) == ("problem", True)
    assert int(refused.headers["retry-after"]) > 0

    async def shipping_fails() -> bool:
        async with server.client() as client:
            return "tidemill_ledger_shipping_failures_total 0.0" not in (await client.get("/metrics")).text

    await until(shipping_fails)
    assert list((server.state / "ledger").glob("*.wal"))
    disk.free()
    assert (await check_space(sessions)).state == "ok"
    await server.until_shipped(60)
    found = await recorded(sessions)
    assert set(found) - before == set(answered)
    assert set(found.values()) == {1}
    assert not list((server.state / "ledger" / "rejected").iterdir())


async def test_a_full_database_blames_no_row_and_a_bad_one_is_found_once_there_is_space(
    disk: SmallDisk, sessions: SessionFactory
) -> None:
    # Random, since PostgreSQL compresses what repeats itself.
    lines = [json.dumps(ledger_row(inputs={"x": os.urandom(2500).hex()})).encode() for _ in range(100)]
    rows, _ = read_lines(lines, utc_now())
    await ingest.partitions.ensure(sessions, ingest.days_of(rows))
    rows[70] = replace(rows[70], output='{"a": "\x01"}')
    disk.fill(leave_bytes=200_000)  # enough for the table that COPY fills, not for the rows
    tally = ingest._Tally()
    with pytest.raises(psycopg.errors.DiskFull):  # COPY's own, which SQLAlchemy does not wrap
        await ingest._store(sessions, rows, tally)
    assert (tally.stored, tally.rejected) == (0, [])
    disk.free()
    await ingest._store(sessions, rows, tally)
    assert (tally.stored, [row.line for row in tally.rejected]) == (99, [71])
