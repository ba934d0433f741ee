"""One supervised child process: started, watched, restarted, stopped, its output kept in a bounded log."""

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tidemill.kit.errors import NotFound, TidemillError, Unavailable
from tidemill.kit.own_files import open_own

log = logging.getLogger(__name__)

Ready = Callable[[], Awaitable[bool]]
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 10.0
_STEADY_SECONDS = 10.0
"""A child that ran for so long is started again at once: callers wait for it."""
_LOG_BYTES = 16 * 2**20
_PR_SET_PDEATHSIG = 1
_APPENDING = os.O_WRONLY | os.O_APPEND | os.O_CREAT
_POLL_SECONDS = 0.1
_TAIL_BYTES = 1500
_LAST_WORDS_SECONDS = 2.0
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class ChildSpec:
    """How to run a child.

    ready: true when it can do its work. stop_signal: asks it to end. grace_seconds: until it is killed.
    orphan_signal: what it gets when we are killed; the stop signal, when None.
    user: run as this user. start_attempts: how often it may end before it was ready once. refusal: what to raise then,
    made from the end of what it said; None for the name and those words.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    ready: Ready
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = 25
    orphan_signal: signal.Signals | None = None
    user: str | None = None
    directory: Path | None = None
    start_attempts: int = 3
    refusal: Callable[[str], TidemillError] | None = None


@dataclass
class Child:
    """The running side of a `ChildSpec`."""

    spec: ChildSpec
    log_file: Path
    on_restart: Callable[[str, int], None]
    inherited: Sequence[int] = ()
    """Descriptors that the child keeps open."""
    restarts: int = 0
    process: asyncio.subprocess.Process | None = None
    _watcher: asyncio.Task[None] | None = None
    _tail: list[asyncio.Task[None]] = field(default_factory=list)

    _log_start: int = 0
    _is_awaited: bool = False
    """While it is, it is not started again for ever."""

    async def start(self) -> None:
        """Raises Forbidden for what is in the place of its log and is no file of ours."""
        require_log_files(self.log_file)
        self._log_start = self.log_file.stat().st_size if self.log_file.exists() else 0
        await self._spawn()
        self._watcher = asyncio.create_task(self._watch(), name=f"watch {self.spec.name}")

    async def until_ready(self, timeout_seconds: float) -> None:
        """Raises Unavailable, or the spec's refusal, when it does not start or takes too long."""
        self._is_awaited = True
        try:
            async with asyncio.timeout(timeout_seconds):
                while not await self.spec.ready():
                    if self.restarts >= self.spec.start_attempts:
                        raise await self._refusal()
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            detail = f"{self.spec.name} did not become ready in {timeout_seconds:.0f} s.\n{self._said()}"
            raise Unavailable("start_timeout", detail) from None
        self._is_awaited = False

    async def _refusal(self) -> TidemillError:
        await asyncio.wait(self._tail, timeout=_LAST_WORDS_SECONDS)
        said = self._said()
        if self.spec.refusal is not None:
            return self.spec.refusal(said)
        return Unavailable("start_failed", f"{self.spec.name} does not start.\n{said}")

    def _said(self) -> str:
        """The end of what it said since it was started."""
        with contextlib.suppress(OSError), self.log_file.open("rb") as log:
            size = os.fstat(log.fileno()).st_size
            log.seek(max(min(self._log_start, size), size - _TAIL_BYTES))
            return log.read(_TAIL_BYTES).decode(errors="replace")
        return ""

    async def stop(self) -> None:
        """Ask the child to end; kill it when it does not in time. Its log is complete afterwards."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        if self.process is not None and self.process.returncode is None:
            await self._end(self.process)
        await asyncio.gather(*self._tail, return_exceptions=True)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(self.spec.stop_signal)
        try:
            async with asyncio.timeout(self.spec.grace_seconds):
                await process.wait()
        except TimeoutError:
            log.warning("Killed", extra={"child": self.spec.name})
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _spawn(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *self.spec.command,
            env=dict(self.spec.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self.spec.directory,
            start_new_session=True,
            pass_fds=self.inherited,
            preexec_fn=_die_with(os.getpid(), self.spec.orphan_signal or self.spec.stop_signal),
            **({"user": self.spec.user, "group": self.spec.user, "extra_groups": []} if self.spec.user else {}),  # type: ignore[arg-type]
        )
        assert self.process.stdout is not None
        self._tail = [asyncio.create_task(keep_log(self.process.stdout, self.log_file))]

    async def _watch(self) -> None:
        wait_seconds = 0.0
        while True:
            assert self.process is not None
            started = time.monotonic()
            code = await self.process.wait()
            wait_seconds = 0.0 if time.monotonic() - started > _STEADY_SECONDS else wait_seconds
            self.restarts += 1
            if self._is_awaited and self.restarts >= self.spec.start_attempts:
                return  # whoever waits for it says why
            self.on_restart(self.spec.name, code)
            await asyncio.sleep(wait_seconds)  # `stop` cancels this task before it ends the process
            wait_seconds = min(max(wait_seconds * 2, _FIRST_WAIT_SECONDS), _LONGEST_WAIT_SECONDS)
            try:
                await self._spawn()
            except OSError as error:  # no memory, no process to be had: the next attempt may find some
                log.warning("Cannot be started", extra={"child": self.spec.name, "reason": error.errno})


def _die_with(parent: int, orphan_signal: signal.Signals) -> Callable[[], None]:
    """Runs in the child before the program: the kernel signals it when the supervisor dies, even by kill -9."""

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, orphan_signal)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


async def keep_log(stream: asyncio.StreamReader, file: Path) -> None:
    """Append what a child prints to ``file``, and read on if that fails: a full disk must not block a child."""
    kept = _BoundedLog(file)
    try:
        while chunk := await stream.read(1 << 16):
            with contextlib.suppress(OSError, TidemillError):
                kept.write(chunk)
    finally:
        kept.close()


def require_log_files(file: Path) -> None:
    """Raises Forbidden unless a log's file and the one before it are absent, or files of ours that can be written."""
    for each in (file, _earlier(file)):
        with contextlib.suppress(NotFound):
            os.close(open_own(each, os.O_WRONLY | os.O_APPEND))


def _earlier(file: Path) -> Path:
    return file.with_name(file.name + ".1")


class _BoundedLog:
    """A full file becomes ``file.1``, so that logs stay bounded. Opened when there is something to write."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._out: BinaryIO | None = None

    def write(self, chunk: bytes) -> None:
        out = self._opened()
        if out.tell() + len(chunk) > _LOG_BYTES:
            self.close()
            self._file.replace(_earlier(self._file))
            out = self._opened()
        out.write(chunk)

    def close(self) -> None:
        if self._out is not None:
            self._out.close()
            self._out = None

    def _opened(self) -> BinaryIO:
        if self._out is None:
            self._out = os.fdopen(open_own(self._file, _APPENDING), "ab", buffering=0)
        return self._out
