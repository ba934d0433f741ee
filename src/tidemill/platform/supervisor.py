"""Starts the platform in order, watches it, and stops it in reverse."""

import asyncio
import contextlib
import fcntl
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from typing import IO, Protocol

import httpx
from pydantic import SecretStr

from tidemill.auth.scopes import Scope
from tidemill.db.engine import create_engine, create_session_factory
from tidemill.db.migrate import migrate
from tidemill.kit.errors import Conflict, Unavailable
from tidemill.kit.own_files import open_own, write_private
from tidemill.platform import postgres
from tidemill.platform.children import Child, ChildSpec
from tidemill.platform.keys import ensure_key, ensure_token
from tidemill.platform.layout import Layout
from tidemill.platform.leftovers import alone
from tidemill.platform.ports import Ports, claim_ports
from tidemill.platform.specs import Addresses, Site, all_specs, environment_of, store_is_away
from tidemill.settings.model import DatabaseSettings

START_TIMEOUT_SECONDS = 180.0
_POLL_SECONDS = 0.1
_START_ATTEMPTS = 3
_TAIL_BYTES = 1500


class Observer(Protocol):
    """Told what happens, for people."""

    def waiting(self) -> None: ...
    def starting(self, name: str) -> None: ...
    def started(self, name: str, seconds: float) -> None: ...
    def restarting(self, name: str, exit_code: int) -> None: ...


@dataclass(frozen=True)
class Started:
    """A platform that can serve predictions."""

    addresses: Addresses
    new_admin_token: str | None
    """The admin key, when this start made it."""
    store_is_away: bool
    """Whether the object store is not the platform's, such as the mount point of a disk that is away."""


@contextlib.asynccontextmanager
async def platform(layout: Layout, wanted: Ports, host: str, observer: Observer) -> AsyncIterator[Started]:
    """Run the platform while the block runs. Raises Conflict for a second start or a busy port."""
    layout.create()
    with locked(layout):
        layout.addresses.unlink(missing_ok=True)
        async with alone(layout.processes, observer.waiting) as inherited, httpx.AsyncClient(timeout=3) as http:
            ports = claim_ports(wanted, host)
            site = Site(layout, ports, host, Addresses.of(ports, host), http)
            supervisor = _Supervisor(site, observer, inherited)
            try:
                yield await supervisor.start()
            finally:
                await supervisor.stop()


@contextlib.contextmanager
def locked(layout: Layout) -> Iterator[IO[str]]:
    """Hold a data directory's lock. Raises Conflict while a platform, or a command that stands in for it, has it."""
    with os.fdopen(open_own(layout.lock, os.O_RDWR | os.O_APPEND | os.O_CREAT), "a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict("already_up", f"Tidemill is already up on {layout.root}.") from None
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        yield handle


class _Supervisor:
    def __init__(self, site: Site, observer: Observer, inherited: int) -> None:
        self._site = site
        self._observer = observer
        self._inherited = inherited
        self._children: list[Child] = []
        self._environment = environment_of(site)

    async def start(self) -> Started:
        layout = self._site.layout
        ensure_token(layout.mlflow_token)
        user = await asyncio.to_thread(postgres.system_user)
        await asyncio.to_thread(postgres.prepare, layout, user)
        await self._launch([postgres.spec(layout, user, self._environment)])
        mlflow, *rest = all_specs(self._site, self._environment)
        await asyncio.to_thread(postgres.ensure_databases, layout, ("tidemill", "mlflow"))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._launch([mlflow]))  # it takes longest and needs nothing of ours
                token = await self._prepare_database()
                await self._launch(rest)
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        self._write_addresses()
        return Started(self._site.addresses, token, await store_is_away(self._site))

    async def stop(self) -> None:
        """In reverse order, so that nothing loses what it still needs."""
        self._site.layout.addresses.unlink(missing_ok=True)
        rest = [child for child in self._children if child.spec.name not in ("postgres", "mlflow", "api")]
        for name_group in (rest, self._named("api"), self._named("mlflow"), self._named("postgres")):
            await asyncio.gather(*(child.stop() for child in name_group))

    def _named(self, name: str) -> list[Child]:
        return [child for child in self._children if child.spec.name == name]

    async def _prepare_database(self) -> str | None:
        settings = DatabaseSettings(url=SecretStr(self._environment["TIDEMILL_DATABASE__URL"]))
        self._observer.starting("migrations")
        started = time.monotonic()
        await asyncio.to_thread(migrate, settings)
        engine = create_engine(settings, "tidemill-up")
        try:
            sessions = create_session_factory(engine)
            layout, environment = self._site.layout, self._environment.get("TIDEMILL_ENVIRONMENT", "local")
            token = await ensure_key(sessions, layout.admin_key, "admin", [Scope.ADMIN], environment)
            await ensure_key(sessions, layout.serving_key, "model-server", [Scope.SERVING], environment)
        finally:
            await engine.dispose()
        self._observer.started("migrations", time.monotonic() - started)
        return token

    async def _launch(self, specs: list[ChildSpec]) -> None:
        started, launched = time.monotonic(), []
        for spec in specs:
            self._observer.starting(spec.name)
            log_file = self._site.layout.logs / f"{spec.name}.log"
            child = Child(spec, log_file, self._observer.restarting, (self._inherited,))
            self._children.append(child)
            await child.start()
            launched.append(child)
        await asyncio.gather(*(self._until_ready(child, started) for child in launched))

    async def _until_ready(self, child: Child, started: float) -> None:
        name = child.spec.name
        try:
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                while not await child.spec.ready():
                    if child.restarts >= _START_ATTEMPTS:
                        raise Unavailable("start_failed", f"{name} does not start.\n{self._tail(child.spec)}")
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            detail = f"{name} did not become ready in {START_TIMEOUT_SECONDS:.0f} s.\n{self._tail(child.spec)}"
            raise Unavailable("start_timeout", detail) from None
        self._observer.started(name, time.monotonic() - started)

    def _tail(self, spec: ChildSpec) -> str:
        file = self._site.layout.logs / f"{spec.name}.log"
        return file.read_bytes()[-_TAIL_BYTES:].decode(errors="replace") if file.exists() else ""

    def _write_addresses(self) -> None:
        write_private(self._site.layout.addresses, json.dumps(asdict(self._site.addresses)))
