"""A model's own process as its server sees it: whatever it sends or does, its server pays a bounded price."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from tidemill.adapters.model_answers import DEEPEST
from tidemill.kit.errors import Unavailable
from tidemill.kit.streams import pipe_reader
from tidemill.model_server.runtimes import child
from tidemill.model_server.runtimes.child import ChildRuntime, ModelBox, ModelOrder, _Process
from tidemill.model_server.runtimes.messages import HEADER_BYTES, body_length, packed, unpacked
from tidemill.model_server.runtimes.prints import Prints

MIB = 2**20


class Answering:
    """The other end of a process's socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self, prediction: Any) -> None:
        asked = unpacked(await self.reader.readexactly(body_length(await self.reader.readexactly(HEADER_BYTES))))
        self.writer.write(packed({"prediction": prediction, "question": asked["question"]}))
        await self.writer.drain()


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[tuple[_Process, Answering]]:
    """A real process that does nothing, and who answers in its place."""
    folder = tmp_path / "own"
    folder.mkdir()
    sleeping = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    output, printing = os.pipe()
    os.close(printing)
    _, printed = await pipe_reader(os.fdopen(output, "rb", 0), MIB)
    ours, theirs = socket.socketpair()
    channel = await asyncio.open_unix_connection(sock=ours)
    started = _Process(sleeping, *channel, time.monotonic(), folder, Prints(), printed, [])
    other = Answering(*await asyncio.open_unix_connection(sock=theirs))
    yield started, other
    await started.end()
    other.writer.close()


async def exchange(process: tuple[_Process, Answering], prediction: Any, claim: Any, most: int = 64 * MIB) -> Any:
    started, other = process
    answering = asyncio.create_task(other.answer(prediction))
    try:
        return (await started.exchange({}, claim, most))["prediction"]
    finally:
        answering.cancel()


async def test_an_answer_claims_its_memory_before_it_is_read_and_its_values_before_they_are_made(
    process: tuple[_Process, Answering],
) -> None:
    claimed: list[int] = []
    assert len((await exchange(process, ["x" * MIB, *[1] * 1000], claimed.append))[0]) == MIB
    assert claimed[0] > 2 * MIB
    assert claimed[1] > 2 * MIB + 1000 * 100


async def test_an_answer_that_there_is_no_memory_for_is_dropped_and_its_process_goes_on(
    process: tuple[_Process, Answering],
) -> None:
    def refuse(_size_bytes: int) -> None:
        raise Unavailable("memory_busy", "Try again.")

    def refuse_values(size_bytes: int) -> None:
        if size_bytes > 10_000:
            refuse(size_bytes)

    for prediction, claim in ((["x" * MIB], refuse), ([1] * 100, refuse_values)):
        with pytest.raises(Unavailable, match="Try again"):
            await exchange(process, prediction, claim)
        assert await exchange(process, [1], lambda _: None) == [1]


@pytest.mark.parametrize("most", [10, 2**20])
async def test_an_answer_longer_than_any_is_not_waited_for(process: tuple[_Process, Answering], most: int) -> None:
    with pytest.raises(OSError, match="no answer"):
        await exchange(process, ["x" * (2 * MIB)], lambda _: None, most)
    assert process[0].process.returncode == -signal.SIGKILL
    assert not process[0].folder.exists()


async def test_values_nested_deeper_than_any_that_is_kept_are_not_taken(process: tuple[_Process, Answering]) -> None:
    nested: list[Any] = []
    for _ in range(DEEPEST):
        nested = [nested]
    assert await exchange(process, [nested], lambda _: None) == [nested]
    with pytest.raises(OSError, match="no answer"):
        await exchange(process, [[nested]], lambda _: None)


async def test_an_ended_process_gets_no_further_signal_since_its_number_may_be_somebody_else_s(
    process: tuple[_Process, Answering],
) -> None:
    started, _ = process
    await started.end()
    bystander = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    try:
        started.process = bystander  # as if it had got the number
        await started.end()
        assert is_running(bystander.pid)
    finally:
        bystander.kill()
        await bystander.wait()


async def test_what_a_process_left_running_in_its_group_is_ended_with_it(process: tuple[_Process, Answering]) -> None:
    started, _ = process
    output, printing = os.pipe()
    with os.fdopen(output, "rb", 0) as said, os.fdopen(printing, "wb", 0) as saying:
        leader = await asyncio.create_subprocess_exec(
            "sh", "-c", "sleep 600 & echo $!", start_new_session=True, stdout=saying
        )
        left = int(said.readline())
    await leader.wait()
    await started.end()
    started.process, started.is_ended = leader, False
    await started.end()
    async with asyncio.timeout(20):
        while is_running(left):
            await asyncio.sleep(0.01)


def is_running(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_start_that_is_given_up_leaves_neither_process_nor_folder(tmp_path: Path) -> None:
    order = ModelOrder(tmp_path / "model", "pyfunc", {}, 20, box=ModelBox(temporary=tmp_path))
    before = children()
    for turns in range(24):
        start = asyncio.create_task(child._start(order))
        for _ in range(turns):
            await asyncio.sleep(0)
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        assert not list(tmp_path.iterdir()), turns
        assert children() == before, turns


def children() -> set[str]:
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())


async def test_a_model_is_replaced_whatever_kept_its_process_from_being_started(
    process: tuple[_Process, Answering], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not only what we raise ourselves: a machine without threads to spare raises RuntimeError."""
    broken = ModelOrder(tmp_path, "pyfunc", cast("dict[str, str]", None), 20, box=ModelBox(temporary=tmp_path))
    runtime = ChildRuntime(broken)
    keeper = asyncio.create_task(runtime._keep(process[0]))
    process[0].process.kill()
    async with asyncio.timeout(20):
        while [record.message for record in caplog.records].count("A model's process cannot be replaced yet") < 2:
            await asyncio.sleep(0.01)
    assert not keeper.done()
    keeper.cancel()
