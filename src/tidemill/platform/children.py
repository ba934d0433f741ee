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

log = logging.getLogger(__name__)

Ready = Callable[[], Awaitable[bool]]
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 10.0
_STEADY_SECONDS = 10.0
"""A child that ran for so long is started again at once: callers wait for it."""
_LOG_BYTES = 16 * 2**20
_PR_SET_PDEATHSIG = 1
_APPENDING = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class ChildSpec:
    """How to run a child.

    ready: true when it can do its work. stop_signal: asks it to end. grace_seconds: until it is killed.
    orphan_signal: what it gets when we are killed; the stop signal, when None.
    user: run as this user. before_start: runs before every start, such as a clean-up.
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

    async def start(self) -> None:
        await self._spawn()
        self._watcher = asyncio.create_task(self._watch(), name=f"watch {self.spec.name}")

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
            with contextlib.suppress(OSError):
                kept.write(chunk)
    finally:
        kept.close()


class _BoundedLog:
    """A full file becomes ``file.1``, so that logs stay bounded. Opened when there is something to write."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._out: BinaryIO | None = None

    def write(self, chunk: bytes) -> None:
        out = self._opened()
        if out.tell() + len(chunk) > _LOG_BYTES:
            self.close()
            self._file.replace(self._file.with_name(self._file.name + ".1"))
            out = self._opened()
        out.write(chunk)

    def close(self) -> None:
        if self._out is not None:
            self._out.close()
            self._out = None

    def _opened(self) -> BinaryIO:
        if self._out is None:
            self._out = os.fdopen(os.open(self._file, _APPENDING, 0o600), "ab", buffering=0)
        return self._out
