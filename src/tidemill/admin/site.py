"""The stack that a command works on: the one that TIDEMILL_* names, or that of a `tidemill up` data directory.

A stopped platform's PostgreSQL is started for as long as the command needs it.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import SecretStr

from tidemill.admin.processes import START_TIMEOUT_SECONDS
from tidemill.kit.errors import Conflict, NotFound
from tidemill.kit.own_files import own_folder, resolved
from tidemill.platform import postgres
from tidemill.platform.children import Child
from tidemill.platform.layout import Layout
from tidemill.platform.leftovers import alone
from tidemill.platform.supervisor import locked
from tidemill.settings.model import DatabaseSettings, Settings
from tidemill.settings.sources import load_settings

_STORE_VARIABLE = "TIDEMILL_OBJECT_STORE__URL"


@asynccontextmanager
async def site(data_dir: Path | None, *, for_restore: bool = False) -> AsyncIterator[Settings]:
    """Settings of the stack to work on, with its PostgreSQL running.

    ``for_restore``: a data directory may be new, and its platform must not run. Raises NotFound for a folder without a
    platform, Conflict for one that runs.
    """
    settings = load_settings()
    if data_dir is None and settings.database.url != DatabaseSettings().url:
        yield settings
        return
    layout = Layout(resolved(data_dir or settings.data_dir))
    if not for_restore and not _has_content(layout.postgres):
        raise NotFound("platform_not_found", f"{layout.root} holds no platform; name one with --data-dir.")
    if for_restore:
        layout.create()
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(layout))
        except Conflict:
            if for_restore:
                raise Conflict("platform_running", f"Stop `tidemill up` on {layout.root} first.") from None
            postgres.check_sockets(layout)
            yield _settings_of(settings, layout)
            return
        async with alone(layout.processes) as inherited, _own_postgres(layout, inherited, for_restore):
            yield _settings_of(settings, layout)


@asynccontextmanager
async def _own_postgres(layout: Layout, inherited: int, for_restore: bool) -> AsyncIterator[None]:
    user = await asyncio.to_thread(postgres.system_user)
    await asyncio.to_thread(postgres.prepare, layout, user, may_begin_anew=for_restore)
    own_folder(layout.logs)
    spec = postgres.spec(layout, user, os.environ)
    server = Child(spec, layout.logs / "postgres.log", on_restart=lambda *_: None, inherited=(inherited,))
    await server.start()
    try:
        await server.until_ready(START_TIMEOUT_SECONDS)
        await asyncio.to_thread(postgres.ensure_databases, layout, ("tidemill", "mlflow"))
        yield
    finally:
        await server.stop()


def _has_content(folder: Path) -> bool:
    """Whether anything lies there: what is no whole database is told apart when it is prepared."""
    return os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir()))


def _settings_of(settings: Settings, layout: Layout) -> Settings:
    """As `tidemill up` sets them for its processes."""
    store = settings.object_store
    if _STORE_VARIABLE not in os.environ:
        store = store.model_copy(update={"url": f"file://{layout.objects}"})
    database = settings.database.model_copy(update={"url": SecretStr(postgres.url(layout, "tidemill"))})
    return settings.model_copy(update={"data_dir": layout.root, "database": database, "object_store": store})
