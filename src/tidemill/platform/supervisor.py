"""Starts the platform in order, watches it, and stops it in reverse."""

import asyncio
import contextlib
import fcntl
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Protocol

import httpx
from pydantic import SecretStr

from tidemill.auth.scopes import Scope
from tidemill.auth.service import NewKey
from tidemill.db.engine import create_engine, create_session_factory
from tidemill.db.migrate import migrate
from tidemill.kit.errors import Conflict
from tidemill.kit.own_files import open_own, write_private
from tidemill.platform import postgres
from tidemill.platform.children import Child, ChildSpec
from tidemill.platform.keys import SecretFiles
from tidemill.platform.layout import Layout
from tidemill.platform.leftovers import alone
from tidemill.platform.ports import Ports, claim_ports
from tidemill.platform.specs import (
    Addresses,
    Site,
    all_specs,
    environment_of,
    model_server_waits_for_disk,
    store_is_away,
)
from tidemill.settings.model import DatabaseSettings

START_TIMEOUT_SECONDS = 180.0


class Observer(Protocol):
    """Told what happens, for people."""

    def waiting(self) -> None: ...
    def starting(self, name: str) -> None: ...
    def started(self, name: str, seconds: float) -> None: ...
    def restarting(self, name: str, exit_code: int) -> None: ...
    def set_aside(self, file: Path, kept: Path, fault: str) -> None: ...


@dataclass(frozen=True)
class Started:
    """A platform that can serve predictions, or waits for a disk alone."""

    addresses: Addresses
    new_admin_token: str | None
    """The admin key, when this start made it."""
    store_is_away: bool
    """Whether the object store is not the platform's, such as the mount point of a disk that is away."""
    model_server_waits_for_disk: bool
    """Whether predictions are refused until the model server's disk can be written."""


@contextlib.asynccontextmanager
async def platform(layout: Layout, wanted: Ports, host: str, observer: Observer) -> AsyncIterator[Started]:
    """Run the platform while the block runs. Raises Conflict for a second start or a busy port."""
    layout.create()
    with locked(layout):
        layout.remove_addresses()
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
        self._secrets = SecretFiles(site.layout.quarantine, observer.set_aside)

    async def start(self) -> Started:
        layout = self._site.layout
        self._secrets.ensure_token(layout.mlflow_token)
        user = await asyncio.to_thread(postgres.system_user)
        await asyncio.to_thread(postgres.prepare, layout, user)
        await self._launch([postgres.spec(layout, user, self._environment)])
        mlflow, *rest = all_specs(self._site, self._environment)
        await asyncio.to_thread(postgres.ensure_databases, layout, ("tidemill", "mlflow"))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._launch([mlflow]))  # it takes longest and needs nothing of ours
                with postgres.explained(layout):
                    token = await self._prepare_database()
                await self._launch(rest)
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        self._write_addresses()
        away, waits = await store_is_away(self._site), await model_server_waits_for_disk(self._site)
        return Started(self._site.addresses, token, away, waits)

    async def stop(self) -> None:
        """In reverse order, so that nothing loses what it still needs."""
        self._site.layout.remove_addresses()
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
            admin, serving = NewKey("admin", [Scope.ADMIN]), NewKey("model-server", [Scope.SERVING])
            token = await self._secrets.ensure_key(sessions, layout.admin_key, admin, environment)
            await self._secrets.ensure_key(sessions, layout.serving_key, serving, environment)
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
        await child.until_ready(START_TIMEOUT_SECONDS)
        self._observer.started(child.spec.name, time.monotonic() - started)

    def _write_addresses(self) -> None:
        write_private(self._site.layout.addresses, json.dumps(asdict(self._site.addresses)))
