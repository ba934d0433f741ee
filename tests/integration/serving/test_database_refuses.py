"""Segments that a real PostgreSQL refuses: for now, which sets no row aside, or for good, which blocks no other row."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.integration.serving.test_ledger import ledger_row, ship
from tidemill.db.engine import SessionFactory, transaction
from tidemill.features.predictions import ingest
from tidemill.features.predictions.rows import IncomingRow, read_lines
from tidemill.kit.clock import utc_now

PASSING = (
    "08006", "25006", "40001", "53000", "53100", "53200", "53300", "53400", "55P03", "57P01", "57P02", "57P03", "58030",
)  # fmt: skip


@pytest.fixture
async def refuse(sessions: SessionFactory) -> AsyncIterator[Any]:
    """Lets every insert of a prediction fail with a SQLSTATE, as PostgreSQL itself would raise it."""

    async def install(state: str) -> None:
        async with transaction(sessions) as session:
            await session.execute(
                text(
                    "CREATE OR REPLACE FUNCTION refuse_prediction() RETURNS trigger LANGUAGE plpgsql AS "
                    f"$$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{state}'; END $$"
                )
            )
            await session.execute(
                text(
                    "CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON predictions "
                    "FOR EACH ROW EXECUTE FUNCTION refuse_prediction()"
                )
            )

    yield install
    async with transaction(sessions) as session:
        await session.execute(text("DROP FUNCTION IF EXISTS refuse_prediction CASCADE"))


async def test_what_may_pass_is_503_and_sets_no_row_aside(api: httpx.AsyncClient, refuse: Any) -> None:
    content = json.dumps(ledger_row()).encode()
    headers = {"Content-Type": "application/x-ndjson"}
    for state in PASSING:
        await refuse(state)
        answer = await api.post("/api/v1/ledger/segments", content=content, headers=headers)
        assert (state, answer.status_code) == (state, 503), answer.text
        assert answer.json()["code"] in ("database_unavailable", "database_busy", "disk_full")


@pytest.mark.parametrize(
    "damage",
    [
        {"deployment": "a\x00b"},  # psycopg refuses it before it is sent
        {"deployment": "a\ud800b"},  # no UTF-8
        {"model_version": 2**40},
        {"inputs": "{"},
        {"inputs": '{"a":' * 60_000 + "1" + "}" * 60_000},
        {"output": '{"a": "\x01"}'},
    ],
    ids=["nul", "surrogate", "numeric overflow", "no json", "nested too deeply", "control character"],
)
async def test_a_row_that_copy_refuses_is_named_and_blocks_no_other(
    sessions: SessionFactory, damage: dict[str, Any]
) -> None:
    rows = _rows(5)
    tally = ingest._Tally()
    await ingest.partitions.ensure(sessions, ingest.days_of(rows))
    rows[3] = replace(rows[3], **damage)
    await ingest._store(sessions, rows, tally)
    assert (tally.stored, [row.line for row in tally.rejected]) == (4, [rows[3].line])
    assert tally.rejected[0].code == "ledger_row_unstorable"


async def test_a_time_that_postgresql_cannot_hold_is_refused_by_the_reader(api: httpx.AsyncClient) -> None:
    receipt = await ship(api, ledger_row(predicted_at="9999-12-31T23:59:59-23:59"), ledger_row())
    assert ([row.line for row in receipt.rejected], receipt.stored) == ([1], 1)


def _rows(count: int) -> list[IncomingRow]:
    lines = [json.dumps(ledger_row()).encode() for _ in range(count)]
    rows, rejected = read_lines(lines, utc_now())
    assert not rejected
    return rows
