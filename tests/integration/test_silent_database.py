"""A PostgreSQL that is frozen: it neither answers nor hangs up, so whoever asks has to."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.db import patience
from tidemill.db.engine import create_engine
from tidemill.kit.errors import Unavailable
from tidemill.settings.model import DatabaseSettings
from tidemill.web.database_problems import of_database
from tidemill.web.health import _Shared

_PATIENCE_SECONDS = 30

Freeze = Callable[[int], None]


@pytest.fixture
async def hurried(database: DatabaseSettings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncEngine]:
    """An engine that waits a second for everything."""
    monkeypatch.setattr(patience, "_MARGIN_SECONDS", 0)
    short = database.model_copy(update={"connect_timeout_seconds": 1, "statement_timeout_seconds": 1})
    engine = create_engine(short, "tests")
    yield engine
    await engine.dispose()


@pytest.fixture
async def freeze() -> AsyncIterator[Freeze]:
    """Stops the server process of one connection, as it stops with its whole machine."""
    frozen: list[int] = []

    def stop(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        frozen.append(pid)

    yield stop
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)


async def test_a_statement_without_an_answer_is_given_up_as_a_lost_connection(
    hurried: AsyncEngine, freeze: Freeze
) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS), hurried.connect() as connection:
        freeze((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())
        with pytest.raises(DBAPIError) as lost:
            await connection.execute(text("SELECT 1"))
        assert lost.value.connection_invalidated
        assert isinstance(of_database(lost.value), Unavailable)


async def test_a_pooled_connection_that_fell_silent_is_replaced(hurried: AsyncEngine, freeze: Freeze) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        async with hurried.connect() as connection:
            frozen = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        freeze(frozen)
        async with hurried.connect() as connection:
            assert (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one() != frozen


async def test_a_check_that_does_not_end_is_not_passed_and_runs_once_however_often_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tidemill.web.health._CHECK_TIMEOUT_SECONDS", 0.01)
    asked, goes_on = [], asyncio.Event()

    async def stuck() -> bool:
        asked.append(1)
        while not goes_on.is_set():  # as a query that is being ended does not end
            try:
                await goes_on.wait()
            except asyncio.CancelledError:
                continue
        return True

    async def fine() -> bool:
        return True

    checks = _Shared({"database": stuck, "disk": fine})
    for _ in range(3):
        assert await checks() == {"database": False, "disk": True}
    assert asked == [1]
    goes_on.set()
    assert await checks() == {"database": True, "disk": True}
