"""The worker's side of a computing child: start it, listen, keep it in bounds, and leave nothing of it behind."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from tidemill.adapters.store_mark import AWAY
from tidemill.jobs.journal import MAX_LINES
from tidemill.jobs.lease import Lease
from tidemill.jobs.messages import Message, read_message
from tidemill.kit.disk_room import disk_limit
from tidemill.kit.errors import Invalid, TidemillError, Unavailable, Unsupported, from_record
from tidemill.kit.streams import drop_rest, lines_of, pipe_reader
from tidemill.sandbox.child import command, environment, policy_of, refuse_foreign_code
from tidemill.sandbox.confinement import Kernel
from tidemill.sandbox.guard import Bounds, first_excess
from tidemill.sandbox.launch import REFUSED_EXIT_CODE
from tidemill.sandbox.policy import NOTHING, Limits, Policy, Reach
from tidemill.settings.model import SandboxSettings, WorkerSettings

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 64 * 2**20
_LONG_LINE_BYTES = 1 << 18
"""Read in a thread: the worker's other jobs and its heartbeat go on meanwhile."""
_MAX_PRINTED_LINE_BYTES = 1 << 16
_GUARD_POLL_SECONDS = 0.25
_MOST_CPU_SECONDS = 14 * 24 * 3600
"""No job may run so long; its own time limit ends it earlier."""
_EXIT_TIMEOUT_SECONDS = 30
_KILLED_TIMEOUT_SECONDS = 10
_LAST_PRINTS_SECONDS = 1
_MANY_MESSAGES_PAUSE_SECONDS = 0.001
DIED_CODE = "compute_died"
_MODULE = "tidemill.jobs.child"

OnMessage = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True)
class ComputeOrder:
    """What a child shall do, and what of the machine it needs for that."""

    entry: str
    request: dict[str, Any]
    request_id: str | None
    directory: Path
    reach: Reach = NOTHING

    @property
    def scratch(self) -> Path:
        return self.directory / "scratch"

    @property
    def work(self) -> Path:
        """Where it starts, and where its libraries put temporary files."""
        return self.directory / "work"


@dataclass(frozen=True)
class Confinement:
    """How a worker confines its children."""

    kernel: Kernel
    settings: SandboxSettings


class ComputeChild:
    """One child process. ``on_message`` gets its ``progress``, ``log`` and ``event`` messages in order."""

    def __init__(
        self, order: ComputeOrder, settings: WorkerSettings, lease: Lease, on_message: OnMessage,
        confinement: Confinement,
    ) -> None:  # fmt: skip
        self._order = order
        self._settings = settings
        self._confinement = confinement
        self._lease = lease
        self._on_message = on_message
        self._verdict: TidemillError | None = None

    async def run(self) -> dict[str, Any]:
        """The function's result. Raises its error, or Invalid, or Unavailable if the child died without a word.

        Raises Unsupported, before anything starts, for code that is not ours where it cannot be confined.
        """
        if self._order.reach.foreign:
            refuse_foreign_code(self._confinement.kernel, self._confinement.settings.allow_unconfined)
        self._order.scratch.mkdir()
        self._order.work.mkdir()
        ours, theirs = socket.socketpair()
        output, printing = os.pipe()
        with ours, os.fdopen(output, "rb", 0) as prints:
            with theirs, os.fdopen(printing, "wb", 0) as printing_end:
                process = await self._start(theirs, printing_end.fileno())
            side = [asyncio.create_task(self._pump(prints)), asyncio.create_task(self._guard(process))]
            try:
                answer = await self._converse(ours)
                await _exited(process, _EXIT_TIMEOUT_SECONDS if answer else _KILLED_TIMEOUT_SECONDS)
            finally:
                await _complete(self._end(process, side))
        return self._judge(answer, process.returncode)

    async def _start(self, theirs: socket.socket, printing: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *command(self._policy(), _MODULE, theirs.fileno()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=printing,
            stderr=printing,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            cwd=self._order.work,
            env=environment(self._order.work, self._settings.cpu_threads, bool(self._order.reach.addresses)),
        )

    def _policy(self) -> Policy:
        """Where the kernel has all that it takes, the child ends rather than run without."""
        order, settings = self._order, self._settings
        limits = Limits.of_memory(settings.memory_limit_bytes, self._disk_limit(), _MOST_CPU_SECONDS)
        strict = self._confinement.kernel.level == "full"
        return policy_of(order.entry.partition(":")[0], order.reach, (order.scratch, order.work), limits, strict)

    def _disk_limit(self) -> int:
        return disk_limit(self._order.directory, self._settings.disk_limit_bytes)

    async def _converse(self, ours: socket.socket) -> Message | None:
        reader, writer = await asyncio.open_connection(sock=ours, limit=MAX_LINE_BYTES)

        def tell_lease(ends: float) -> None:
            if not writer.is_closing():
                writer.write(_line({"lease_ends": ends}))

        self._lease.listen(tell_lease)
        try:
            writer.write(_line(self._opening()))
            return await self._listen(reader)
        finally:
            self._lease.forget(tell_lease)
            writer.close()

    def _opening(self) -> Message:
        return {
            "entry": self._order.entry,
            "request": self._order.request,
            "request_id": self._order.request_id,
            "scratch": str(self._order.scratch),
            "cpu_threads": self._settings.cpu_threads,
            "memory_limit_bytes": self._settings.memory_limit_bytes,
            "lease_ends": self._lease.ends,
        }

    async def _listen(self, reader: asyncio.StreamReader) -> Message | None:
        count = 0
        while True:
            try:
                line = await reader.readline()
            except ValueError:
                raise Invalid("compute_message_too_large", "The computation gave more than fits a message.") from None
            except ConnectionError:
                return None
            if not line.endswith(b"\n"):
                return None
            message = (
                read_message(line) if len(line) < _LONG_LINE_BYTES else await asyncio.to_thread(read_message, line)
            )
            if message["type"] in {"result", "error"}:
                return message
            await self._on_message(message)
            count += 1
            # Whoever sends without pause leaves time for others.
            await asyncio.sleep(0 if count < MAX_LINES else _MANY_MESSAGES_PAUSE_SECONDS)

    async def _pump(self, prints: BinaryIO) -> None:
        """What the child prints, to the job's log."""
        reader, transport = await pipe_reader(prints, _MAX_PRINTED_LINE_BYTES)
        with contextlib.closing(transport):
            await self._pass_on(reader)

    async def _pass_on(self, reader: asyncio.StreamReader) -> None:
        count = 0
        async for line in lines_of(reader):
            text = line.decode(errors="replace").rstrip()
            if text:
                await self._on_message({"type": "log", "level": "info", "message": text})
            count += 1
            if count > MAX_LINES:  # more than a job's log keeps
                break
        await drop_rest(reader)

    async def _guard(self, process: asyncio.subprocess.Process) -> None:
        folders = (self._order.directory, *self._order.reach.write)
        settings = self._settings
        self._verdict = await first_excess(
            process.pid,
            lambda: Bounds.of(settings.memory_limit_bytes, settings.disk_limit_bytes, folders),
            _GUARD_POLL_SECONDS,
        )
        if process.returncode is None:  # its number may be somebody else's otherwise
            _signal_group(process.pid, signal.SIGKILL)

    async def _end(self, process: asyncio.subprocess.Process, side: list[asyncio.Task[None]]) -> None:
        strays = _descendants(process.pid)
        if process.returncode is None:
            _signal_group(process.pid, signal.SIGTERM)
            await _exited(process, self._settings.termination_grace_seconds)
        # Also what the child left running, in its session or in one of its own.
        _signal_group(process.pid, signal.SIGKILL)
        for stray in strays:
            with contextlib.suppress(psutil.Error):
                stray.kill()
        await _exited(process, _KILLED_TIMEOUT_SECONDS)
        output, guard = side
        guard.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(output, _LAST_PRINTS_SECONDS)
        await asyncio.gather(*side, return_exceptions=True)

    def _judge(self, answer: Message | None, exit_code: int | None) -> dict[str, Any]:
        if answer is not None and answer["type"] == "result":
            return dict(answer["result"] or {})
        if self._verdict is not None:
            raise self._verdict
        if answer is not None:
            raise _told(from_record(answer["error"]))
        if self._lease.expired:
            raise Unavailable("lease_expired", "The worker lost its hold of the job while PostgreSQL was away.")
        if exit_code == REFUSED_EXIT_CODE:
            raise Unsupported("sandbox_refused", "The kernel refused to confine the computing process.")
        how = f"signal {-exit_code}" if exit_code is not None and exit_code < 0 else f"exit code {exit_code}"
        raise Unavailable(DIED_CODE, f"The computing process ended without an answer ({how}).")


def _told(error: TidemillError) -> TidemillError:
    """What a child ended with, unless only its worker can know that: such errors have a job tried again for days."""
    if error.code == DIED_CODE or error.code in AWAY:
        return Invalid("compute_message_malformed", "The computation said something that is no message.")
    return error


def _line(message: Message) -> bytes:
    return json.dumps(message, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _descendants(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


async def _exited(process: asyncio.subprocess.Process, timeout_seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), timeout_seconds)


async def _complete(work: Coroutine[Any, Any, None]) -> None:
    """Finish ``work`` even if this task is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError
