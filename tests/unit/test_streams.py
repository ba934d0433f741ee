"""Whoever writes without pause to one of our processes takes nobody else's time there."""

import asyncio
import logging

import pytest

from tidemill.kit.streams import drop_rest, lines_of
from tidemill.model_server.runtimes.prints import Prints

LINES = 5_000


@pytest.mark.parametrize("line", [b"\n", b"word\n", b"x" * 100 + b"\n"])
async def test_others_have_a_turn_after_every_line(line: bytes) -> None:
    reader = asyncio.StreamReader(limit=64)
    reader.feed_data(line * LINES)
    reader.feed_eof()
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    found = [read async for read in lines_of(reader)]
    beside.cancel()
    assert len(found) == (0 if len(line) > 64 else LINES)
    assert turns >= LINES


async def test_the_last_line_needs_no_end() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"first\n\nlast")
    reader.feed_eof()
    assert [line async for line in lines_of(reader)] == [b"first\n", b"\n", b"last"]


async def test_a_model_that_prints_without_end_is_logged_for_a_while_and_read_to_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"word\n" * LINES)
    reader.feed_eof()
    with caplog.at_level(logging.INFO):
        await Prints().log(reader)
    assert len(caplog.records) == 50
    assert reader.at_eof()


async def test_what_nobody_wants_is_read_to_its_end_with_pauses_in_which_others_go_on() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(bytes(10 << 16))
    reader.feed_eof()
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    beside = asyncio.create_task(other())
    await drop_rest(reader)
    beside.cancel()
    assert reader.at_eof()
    assert turns >= 10


async def test_what_a_model_prints_once_it_was_asked_is_not_logged_since_it_may_be_rows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader, prints = asyncio.StreamReader(), Prints()
    with caplog.at_level(logging.INFO):
        logged = asyncio.create_task(prints.log(reader))
        reader.feed_data(b"loading\n")
        while not caplog.records:
            await asyncio.sleep(0)
        prints.end_of_words()
        reader.feed_data(b"age 41\n" * LINES)
        reader.feed_eof()
        await logged
    assert [getattr(record, "printed", None) for record in caplog.records] == ["loading", None]
