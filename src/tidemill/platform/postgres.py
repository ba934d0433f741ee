"""The embedded PostgreSQL: the wheel's programs, run as our own supervised child on a private unix socket."""

import asyncio
import contextlib
import logging
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
from alembic.util import CommandError
from psycopg import sql
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from tidemill.adapters.postgres_programs import embedded_programs
from tidemill.kit.errors import NotFound, TidemillError, Unavailable
from tidemill.kit.own_files import checked_folder, own_folder
from tidemill.platform import cluster
from tidemill.platform.children import ChildSpec
from tidemill.platform.layout import Layout
from tidemill.platform.passage import let_pass, may_pass

log = logging.getLogger(__name__)

_SUPERUSER = "postgres"
_SYSTEM_USER = "tidemill-postgres"
_COMMAND_TIMEOUT_SECONDS = 60
_PASSING = ("starting up", "not yet accepting", "shutting down", "recovery", "too many", "already")
"""What PostgreSQL says of states that end by themselves."""
_OF_DISKS = ("53100", "58", "XX")
"""States that a full or damaged disk causes begin so."""
_SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "128MB",
    "max_connections": "120",
    "wal_compression": "pglz",
    "max_wal_size": "1GB",
    "jit": "off",
}


def system_user() -> str | None:
    """PostgreSQL refuses to run as root, so root runs it as a user of its own; everyone else as themselves."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _SYSTEM_USER]
        subprocess.run(command, check=True, capture_output=True, timeout=_COMMAND_TIMEOUT_SECONDS)
    return _SYSTEM_USER


def prepare(layout: Layout, user: str | None, *, may_begin_anew: bool = False) -> None:
    """Create the cluster on the first start and the private socket directory on every one.

    may_begin_anew: also where there was a database before, which a restore brings back. Raises as `cluster` does.
    """
    account = None if user is None else pwd.getpwnam(user)
    owner = account.pw_uid if account else None
    own_folder(layout.sockets, owner)  # Below the temporary directory anybody may have made it.
    if user is not None and account is not None:
        _let_pass(layout.root, user)
        _let_pass(embedded_programs(), user)
        os.chown(layout.sockets, account.pw_uid, account.pw_gid, follow_symlinks=False)
    if cluster.exists(layout.postgres, owner):
        cluster.remove_unfinished(layout.postgres_new)
        cluster.remove_stale_locks(layout)
    else:
        if not may_begin_anew:
            cluster.refuse_lost(layout)
        _initialise(layout, user)


def _initialise(layout: Layout, user: str | None) -> None:
    making = cluster.begin(layout.postgres_new)
    if user is not None:
        _let_pass(layout.postgres_new, user)
        shutil.chown(making, user, user)
    command = [
        str(embedded_programs() / "initdb"), "-D", str(making), "-U", _SUPERUSER,
        "--encoding=UTF8", "--locale=C.UTF-8", "--auth-local=trust", "--auth-host=reject", "--data-checksums",
    ]  # fmt: skip
    identity: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        timeout=_COMMAND_TIMEOUT_SECONDS,
        cwd="/",
        text=True,
        **identity,
    )
    if done.returncode != 0:
        raise Unavailable("postgres_init_failed", f"PostgreSQL could not be set up: {done.stderr.strip()[-300:]}")
    making.rename(layout.postgres)
    cluster.remove_unfinished(layout.postgres_new)


def _let_pass(folder: Path, user: str) -> None:
    """Let PostgreSQL's user reach its data: search permission, nothing more, on our own folders above it.

    For that user alone; only where the file system has no access control lists, everybody gets it.
    """
    owner = pwd.getpwnam(user).pw_uid
    for part in (folder, *folder.parents):
        info = part.stat()
        is_open = info.st_mode & 0o001 or may_pass(part, owner)
        if info.st_uid != os.geteuid() or info.st_uid == owner or is_open:
            continue
        if let_pass(part, owner):
            log.info("PostgreSQL's user may pass through a folder now", extra={"reason": str(part)})
        else:
            part.chmod(info.st_mode | 0o001)
            said = "Other users may pass through a folder now, as PostgreSQL's own must to reach its data and programs"
            log.warning(said, extra={"reason": str(part)})


def spec(layout: Layout, user: str | None, environment: Mapping[str, str]) -> ChildSpec:
    command = [str(embedded_programs() / "postgres"), "-D", str(layout.postgres), "-k", str(layout.sockets)]
    for name, value in _SETTINGS.items():
        command += ["-c", f"{name}={value}"]
    return ChildSpec(
        name="postgres",
        command=command,
        environment={**environment, "LC_ALL": "C.UTF-8"},
        ready=lambda: _answers(layout),
        stop_signal=signal.SIGINT,  # "fast" shutdown: disconnects clients, loses nothing
        user=user,
        directory=Path("/"),
        start_attempts=1,  # what it refuses once it refuses again
        refusal=lambda said: cluster.refusal(layout, said),
    )


def check_sockets(layout: Layout) -> None:
    """Raises Forbidden if the folder of the sockets is somebody else's, who could answer in PostgreSQL's place."""
    with contextlib.suppress(NotFound):
        checked_folder(layout.sockets, _uid_of_system_user() if os.geteuid() == 0 else None)


def _uid_of_system_user() -> int | None:
    try:
        return pwd.getpwnam(_SYSTEM_USER).pw_uid
    except KeyError:
        return None


def url(layout: Layout, database: str) -> str:
    return f"postgresql+psycopg://{_SUPERUSER}@/{database}?host={layout.sockets}"


async def _answers(layout: Layout) -> bool:
    return await asyncio.to_thread(_try_connect, layout)


def _try_connect(layout: Layout) -> bool:
    """Raises Unavailable for what will not pass, such as a database whose files are gone."""
    try:
        with psycopg.connect(host=str(layout.sockets), user=_SUPERUSER, dbname="postgres", connect_timeout=2):
            return True
    except psycopg.OperationalError as error:
        said = str(error)
        if "FATAL:" in said and not any(passing in said for passing in _PASSING):
            raise cluster.refusal(layout, said) from None
        return False


@contextlib.contextmanager
def explained(layout: Layout) -> Iterator[None]:
    """What PostgreSQL refuses while the platform starts, such as a database whose files are gone, as Unavailable."""
    try:
        yield
    except (psycopg.Error, SQLAlchemyError, CommandError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise _refusal(layout, getattr(cause, "sqlstate", None) or "", str(cause)) from error


def _refusal(layout: Layout, state: str, said: str) -> TidemillError:
    """Only what damage or a full disk can have caused is told as such: the advice is to restore a backup."""
    if "FATAL:" in said:
        return cluster.refusal(layout, said)
    first_line = said.partition("\n")[0]
    if state.startswith(_OF_DISKS):
        return cluster.refusal(layout, first_line)
    return Unavailable(
        "database_not_prepared",
        f"The platform's database cannot be prepared: {first_line.rstrip('.')}. Its data is as it was. All that "
        f"PostgreSQL said is in {layout.logs / 'postgres.log'}.",
    )


def ensure_databases(layout: Layout, names: tuple[str, ...]) -> None:
    """Create the databases that do not exist yet. Raises Unavailable if one that exists cannot be opened."""
    with explained(layout):
        with _connected(layout, "postgres") as connection:
            existing = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
            for name in names:
                if name not in existing:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        for name in existing.intersection(names):
            _connected(layout, name).close()


def _connected(layout: Layout, database: str) -> "psycopg.Connection[tuple[Any, ...]]":
    return psycopg.connect(
        host=str(layout.sockets), user=_SUPERUSER, dbname=database, autocommit=True, connect_timeout=5
    )
