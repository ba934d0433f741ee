"""Foreign models: each in a process of its own, so that its code, its libraries and its crashes stay there.

One request at a time goes through a socket; the others wait in a bounded queue. A process that dies or does not answer
in time is replaced, with growing pauses while it keeps dying.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidemill.adapters.model_answers import DEEPEST
from tidemill.kit.disk_room import disk_limit
from tidemill.kit.errors import (
    DeadlineExceeded,
    Forbidden,
    Invalid,
    Malformed,
    NotFound,
    TidemillError,
    TooLarge,
    Unavailable,
)
from tidemill.kit.json_shape import ShapeLimits, check_shape
from tidemill.kit.limits import MAX_ANSWER_BYTES
from tidemill.kit.streams import pipe_reader
from tidemill.kit.trees import remove_tree
from tidemill.model_server.runtimes.answers import error_of, outputs_of
from tidemill.model_server.runtimes.base import VALUES_ON_THE_LOOP, Claim, ModelOutputs
from tidemill.model_server.runtimes.messages import HEADER_BYTES, body_length, packed, unpacked
from tidemill.model_server.runtimes.prints import Prints
from tidemill.model_server.validation import Columns
from tidemill.sandbox.child import command, environment, policy_of, refuse_foreign_code
from tidemill.sandbox.confinement import Kernel
from tidemill.sandbox.guard import Bounds, first_excess
from tidemill.sandbox.policy import Limits, Policy, Reach

log = logging.getLogger(__name__)

_MODULE = "tidemill.model_server.runtimes.child_main"
_LOAD_TIMEOUT_SECONDS = 180
_MOST_WAITING = 256
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 15.0
_STEADY_SECONDS = 30.0
_GUARD_POLL_SECONDS = 0.5
_QUESTION_BYTES = 8
_AROUND_A_VALUE = 3
"""Levels of an answer around the lists and records of one value: the answer itself, and its list of values."""
_ANSWER_SHAPE = ShapeLimits(values=4_000_000, depth=DEEPEST + _AROUND_A_VALUE, number_characters=400)
"""Forty for each row of the largest request; some 300 MB as objects."""
_LOADED_BYTES = 2**20
"""Of the answer that a model is loaded: more than its error's problems take."""
_COPIES = 2
"""Of an answer while it is received: as it comes in, and whole."""
_DROPPED_BYTES = 2**16
_LINE_BYTES = 2**16
"""Of what a model prints."""


@dataclass(frozen=True)
class ModelBox:
    """How a model's process is confined.

    temporary: where each process gets a folder of its own, gone with it; None: below the system's.
    """

    kernel: Kernel = field(default_factory=Kernel.probe)
    allow_unconfined: bool = False
    memory_bytes: int = 4 * 2**30
    disk_bytes: int = 2**30
    temporary: Path | None = None


@dataclass(frozen=True)
class ModelOrder:
    """What a model's process is told. types: column to the signature's type; runs_code: as in `load_model`."""

    directory: Path
    flavor: str
    types: Mapping[str, str]
    timeout_seconds: float
    runs_code: bool = False
    box: ModelBox = field(default_factory=ModelBox)


@dataclass
class _Process:
    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    started_at: float
    folder: Path
    prints: Prints
    printing: asyncio.ReadTransport
    side: list[asyncio.Task[None]]
    is_ended: bool = False

    async def exchange(self, message: dict[str, Any], claim: Claim, most_bytes: int) -> dict[str, Any]:
        """``claim`` is asked for the memory of an answer, which has at most ``most_bytes``.

        Raises EOFError or OSError when the process is gone, or gives what it had ready before it was asked; what
        ``claim`` raises; Invalid for an answer of too many values.
        """
        question = secrets.token_hex(_QUESTION_BYTES)
        self.writer.write(packed({**message, "question": question}))
        await self.writer.drain()
        answer = await self._receive(claim, most_bytes)
        if answer.pop("question", None) != question:
            raise await self._mistrusted()
        return answer

    async def _receive(self, claim: Claim, most_bytes: int) -> dict[str, Any]:
        length = body_length(await self.reader.readexactly(HEADER_BYTES))
        if length > most_bytes:
            raise await self._mistrusted()
        try:
            claim(_COPIES * length)
        except TidemillError:
            await self._drop(length)
            raise
        try:
            return await asyncio.to_thread(_decoded, await self.reader.readexactly(length), claim)
        except (ValueError, Malformed):
            raise await self._mistrusted() from None

    async def _drop(self, length: int) -> None:
        """An answer that there is no room for is no fault of the process."""
        while length:
            piece = await self.reader.read(min(length, _DROPPED_BYTES))
            if not piece:
                raise EOFError
            length -= len(piece)

    async def _mistrusted(self) -> OSError:
        """Code that is not ours can write to the socket what it likes; whoever did is replaced."""
        log.error("A model's process sent what is no answer and is ended")
        await self.end()
        return OSError("no answer")

    async def end(self) -> None:
        """End it, with what it left running in its group, and leave nothing behind of it. May be called again: once it
        is ended, its number may be somebody else's and gets no signal."""
        if not self.is_ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()
            self.is_ended = True
        self.writer.close()
        self.printing.close()
        for task in self.side:
            task.cancel()
        await asyncio.to_thread(remove_tree, self.folder)


def _decoded(body: bytes, claim: Claim) -> dict[str, Any]:
    """Raises Invalid for an answer of more values than a request's rows can have; each becomes an object here.

    What ``claim`` raises where there is no memory for them.
    """
    try:
        size = check_shape(body, _ANSWER_SHAPE)
    except TooLarge:
        raise Invalid("prediction_too_large", "The model answered with more values than are taken.") from None
    claim(size)
    return unpacked(body)


def _unclaimed(_size_bytes: int) -> None:
    """Small answers, of models that are loaded."""


class ChildRuntime:
    def __init__(self, order: ModelOrder) -> None:
        self._order = order
        self._turn = asyncio.Lock()
        self._ready = asyncio.Event()
        self._process: _Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._waiting = 0
        self._exchanges: set[asyncio.Task[dict[str, Any]]] = set()
        self.restarts = 0

    @staticmethod
    async def load(order: ModelOrder) -> "ChildRuntime":
        """Start the process and load the model in it. Raises what loading raised there.

        Raises Unsupported where this machine cannot confine it and nobody has allowed that.
        """
        if order.runs_code:
            refuse_foreign_code(order.box.kernel, order.box.allow_unconfined)
        runtime = ChildRuntime(order)
        first = await _start(order)
        runtime._process = first
        runtime._ready.set()
        runtime._keeper = asyncio.create_task(runtime._keep(first))
        return runtime

    @property
    def process_id(self) -> int | None:
        return self._process.process.pid if self._process else None

    async def predict(
        self, columns: Columns, params: Mapping[str, Any] | None, claim: Claim = _unclaimed
    ) -> ModelOutputs:
        if self._waiting >= _MOST_WAITING:
            raise Unavailable("model_busy", "Too many requests wait for the model.")
        message = {"columns": {name: list(values) for name, values in columns.items()}, "params": params}
        self._waiting += 1
        try:
            async with asyncio.timeout(self._order.timeout_seconds):
                answer = await self._exchange(message, claim)
        except TimeoutError:
            raise DeadlineExceeded("predict_timeout", "The model did not answer in time.") from None
        finally:
            self._waiting -= 1
        row_count = len(next(iter(columns.values()), ()))
        classes = answer.get("classes")
        if row_count * (len(classes) if isinstance(classes, list) else 1) > VALUES_ON_THE_LOOP:
            return await asyncio.to_thread(outputs_of, answer, row_count)
        return outputs_of(answer, row_count)

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        if self._process is not None:
            await self._process.end()

    async def _exchange(self, message: dict[str, Any], claim: Claim) -> dict[str, Any]:
        async with self._turn:
            await self._ready.wait()
            process = self._process
            assert process is not None
            process.prints.end_of_words()  # from here on it may print somebody's rows
            task = asyncio.create_task(process.exchange(message, claim, MAX_ANSWER_BYTES))
            self._exchanges.add(task)
            task.add_done_callback(self._exchanges.discard)
            try:
                return await task
            except (EOFError, OSError):
                await self._give_up(process)  # it may have closed its socket and run on
                raise Unavailable("model_process_died", "The model's process ended; it is being replaced.") from None
            except asyncio.CancelledError:
                await self._give_up(process)  # its answer would be taken for that of the next request
                raise

    async def _give_up(self, process: _Process) -> None:
        """End it, which has its keeper replace it, unless that is done."""
        if self._process is process:
            self._ready.clear()
        await process.end()

    async def _keep(self, process: _Process) -> None:
        """Replace the process whenever it ends."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            await process.process.wait()
            self._ready.clear()
            pause = _FIRST_PAUSE_SECONDS if time.monotonic() - process.started_at > _STEADY_SECONDS else pause
            log.warning("A model's process ended and is replaced", extra={"status": process.process.returncode})
            while (found := await self._replacement(process, pause)) is None:
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            process = self._process = found
            self.restarts += 1
            self._ready.set()

    async def _replacement(self, ended: _Process, pause_seconds: float) -> _Process | None:
        """None if none can be had yet, whatever the reason: a machine without threads or memory to spare may find some
        again, and a model that nobody replaces is away until its server is started anew."""
        try:
            await ended.end()
        except Exception as error:  # noqa: BLE001 - as said
            _log_not_replaced(error)
        await asyncio.sleep(pause_seconds)
        try:
            return await _start(self._order)
        except Exception as error:  # noqa: BLE001 - as said
            _log_not_replaced(error)
            return None


def _log_not_replaced(error: Exception) -> None:
    reason = error.code if isinstance(error, TidemillError) else type(error).__name__
    log.error("A model's process cannot be replaced yet", extra={"reason": reason})


async def _start(order: ModelOrder) -> _Process:
    """Raises what loading raised in it, Unavailable if it cannot be started or ends, DeadlineExceeded."""
    message = {
        "directory": str(order.directory),
        "flavor": order.flavor,
        "types": dict(order.types),
        "runs_code": order.runs_code,
    }
    try:
        child = await _spawn(order)
    except OSError as error:
        log.error("A model's process cannot be started", extra={"reason": error.errno})  # noqa: TRY400 - the number says it
        raise Unavailable("model_process_not_started", "The machine lacks what a model's process needs.") from None
    try:
        async with asyncio.timeout(_LOAD_TIMEOUT_SECONDS):
            answer = await child.exchange(message, _unclaimed, _LOADED_BYTES)
    except TimeoutError:
        await child.end()
        raise DeadlineExceeded("model_load_timeout", "The model was not loaded in time.") from None
    except (EOFError, OSError):
        await child.end()
        raise Unavailable("model_process_died", "The model's process ended while loading the model.") from None
    except BaseException:
        await child.end()
        raise
    if "error" in answer:
        await child.end()
        raise error_of(answer, (Forbidden, Invalid, NotFound, TooLarge))
    return child


async def _spawn(order: ModelOrder) -> _Process:
    """Its process, of which nothing has been asked yet. Leaves nothing behind if it raises or is cancelled.

    Raises OSError.
    """
    folder = Path(tempfile.mkdtemp(prefix="model-", dir=order.box.temporary))
    async with contextlib.AsyncExitStack() as begun:
        begun.push_async_callback(asyncio.to_thread, remove_tree, folder)
        ours, theirs = socket.socketpair()
        begun.callback(ours.close)
        output, written = os.pipe()
        pipe = begun.enter_context(os.fdopen(output, "rb", 0))
        with theirs, os.fdopen(written, "wb", 0) as printing:
            process = await asyncio.create_subprocess_exec(
                *command(_policy(order, folder), _MODULE, theirs.fileno()), pass_fds=(theirs.fileno(),),
                start_new_session=True, cwd=folder, env=environment(folder, _threads(), False),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=printing,
            )  # fmt: skip
        begun.push_async_callback(_killed, process)
        said, said_by = await pipe_reader(pipe, _LINE_BYTES)
        begun.callback(said_by.close)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        begun.pop_all()
    prints = Prints()
    side = [asyncio.create_task(prints.log(said)), asyncio.create_task(_guard(process, order.box, folder))]
    return _Process(process, reader, writer, time.monotonic(), folder, prints, said_by, side)


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


async def _killed(process: asyncio.subprocess.Process) -> None:
    _kill(process)
    await process.wait()


def _policy(order: ModelOrder, folder: Path) -> Policy:
    """A model reads its own files and Python's, writes to its own folder, and talks to nobody but this process."""
    box = order.box
    limits = Limits.of_memory(box.memory_bytes, disk_limit(folder, box.disk_bytes))
    strict = box.kernel.level == "full"
    return policy_of(_MODULE, Reach(read=(order.directory.absolute(),), foreign=True), (folder,), limits, strict)


def _threads() -> int:
    """As this process was told, else one for each core."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdigit() and int(told) else os.cpu_count() or 1


async def _guard(process: asyncio.subprocess.Process, box: ModelBox, folder: Path) -> None:
    """End a process that takes too much; its keeper replaces it."""
    found = await first_excess(
        process.pid, lambda: Bounds.of(box.memory_bytes, box.disk_bytes, (folder,)), _GUARD_POLL_SECONDS
    )
    log.error("A model's process took too much and is ended", extra={"reason": found.code})
    _kill(process)
