"""The embedded PostgreSQL: the wheel's programs, run as our own supervised child on a private unix socket."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tidemill.adapters.postgres_programs import embedded_programs
from tidemill.kit.errors import Conflict, NotFound, Unavailable
from tidemill.kit.own_files import checked_folder, own_folder
from tidemill.kit.trees import remove_tree
from tidemill.platform.children import ChildSpec
from tidemill.platform.layout import Layout

_SUPERUSER = "postgres"
_SYSTEM_USER = "tidemill-postgres"
_COMMAND_TIMEOUT_SECONDS = 60
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


def prepare(layout: Layout, user: str | None) -> None:
    """Create the cluster on the first start and the private socket directory on every one."""
    account = None if user is None else pwd.getpwnam(user)
    # Below the temporary directory anybody may have made it.
    own_folder(layout.sockets, account.pw_uid if account else None)
    if user is not None and account is not None:
        _let_pass(layout.root, user)
        _let_pass(embedded_programs(), user)
        os.chown(layout.sockets, account.pw_uid, account.pw_gid, follow_symlinks=False)
    if not _has_cluster(layout.postgres):
        _initialise(layout, user)


def _has_cluster(folder: Path) -> bool:
    """Whether there is a cluster. Raises Conflict for anything else there: it may be data, so nothing replaces it."""
    mark = folder / "PG_VERSION"
    if mark.is_file():
        return True
    if os.path.lexists(mark) or folder.is_symlink() or (os.path.lexists(folder) and not _is_empty_folder(folder)):
        raise Conflict(
            "postgres_damaged", f"{folder} is not a whole PostgreSQL database; move it away or restore a backup."
        )
    return False


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _initialise(layout: Layout, user: str | None) -> None:
    unfinished = layout.root / "postgres.new"
    remove_tree(unfinished)
    unfinished.mkdir(mode=0o700)
    if user is not None:
        shutil.chown(unfinished, user, user)
    command = [
        str(embedded_programs() / "initdb"), "-D", str(unfinished), "-U", _SUPERUSER,
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
    unfinished.rename(layout.postgres)


def _let_pass(folder: Path, user: str) -> None:
    """Let PostgreSQL's user reach its data: search permission, nothing more, on our own folders above it."""
    owner = pwd.getpwnam(user).pw_uid
    for part in (folder, *folder.parents):
        info = part.stat()
        if info.st_uid == os.geteuid() and not info.st_mode & 0o001 and info.st_uid != owner:
            part.chmod(info.st_mode | 0o001)


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
    try:
        with psycopg.connect(host=str(layout.sockets), user=_SUPERUSER, dbname="postgres", connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


def ensure_databases(layout: Layout, names: tuple[str, ...]) -> None:
    """Create the databases that do not exist yet."""
    with psycopg.connect(
        host=str(layout.sockets), user=_SUPERUSER, dbname="postgres", autocommit=True, connect_timeout=5
    ) as connection:
        existing = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
        for name in names:
            if name not in existing:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
