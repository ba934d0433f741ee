"""Files and folders that must be ours: made closed to others, and refused when somebody else made them.

A path in a folder that others can write to (the system's temporary directory, a shared disk, the current directory) may
have been put there by somebody else: to read what we write, to be read by us, or as a link that leads our writing
elsewhere. Root and whoever owns ``/`` can do anything anyway, so theirs counts as ours.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tidemill.kit.errors import Forbidden, NotFound, TidemillError, Unavailable
from tidemill.kit.ids import uuid7

_CLOSED = 0o077
_FOLDER_MODE = 0o700
_FILE_MODE = 0o600
_MOST_LINKS = 40
_LONGEST_NAME = 64
_MOST_BYTES = 2**20
QUARANTINE = "quarantine"
"""Folder below a data directory for files of ours that were damaged or foreign, kept for whoever looks."""


def close_to_others() -> None:
    """For a process's main: what this process and its children make, nobody else can read."""
    os.umask(_CLOSED)


def resolved(path: Path) -> Path:
    """``path`` with its links followed. Raises Forbidden for a link of somebody else, and for one that leads nowhere.

    What a dangling link names may be a disk that is not mounted: making it there would fill the place of the mount.
    """
    for step in _links(path):
        if step.lstat().st_uid not in _trusted():
            raise Forbidden("link_foreign", f"{step} is a link that belongs to another user; it is not followed.")
        if not step.exists():
            raise Forbidden(
                "link_dangling", f"{step} is a link to what is not there: mount or make that, or remove the link."
            )
    return path.resolve()


def own_folder(path: Path, owner: int | None = None) -> Path:
    """``path`` without links, made with mode 0700 when absent; ``owner``: another user whose it may be.

    Raises Forbidden if it is somebody else's, or if everybody may write to it. Those of its group lose that right.
    Raises Forbidden, too, if somebody else could put another folder in its place.
    """
    folder = resolved(path)
    _require_safe_place(folder)
    if os.path.lexists(folder) and not folder.is_dir():
        raise Forbidden("path_unusable", f"{folder} must be a folder and is none; move it away.")
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    with _checked(folder, os.O_RDONLY | os.O_DIRECTORY, owner) as descriptor:
        info = os.fstat(descriptor)
        if info.st_uid == os.geteuid() and info.st_mode & stat.S_IWGRP:
            os.fchmod(descriptor, stat.S_IMODE(info.st_mode) & ~stat.S_IWGRP)
    return folder


def checked_folder(path: Path, owner: int | None = None) -> Path:
    """As `own_folder`, of a folder that is there and stays as it is. Raises NotFound, too."""
    folder = resolved(path)
    _require_safe_place(folder)
    with _checked(folder, os.O_RDONLY | os.O_DIRECTORY, owner):
        return folder


def open_own(path: Path, flags: int) -> int:
    """A descriptor of a regular file of ours, made with mode 0600 where ``flags`` ask for that. No link is followed.

    Raises Forbidden if it is somebody else's, a link, no file, or if everybody may write to it; NotFound.
    """
    with _checked(path, flags | os.O_NONBLOCK, None) as descriptor:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Forbidden("path_unusable", f"{path} must be a file and is none; move it away.")
        return os.dup(descriptor)


def read_own(path: Path) -> str:
    """The text of a small file of ours. Raises as `open_own` does, UnicodeDecodeError for what is no text."""
    with os.fdopen(open_own(path, os.O_RDONLY), "rb") as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise Forbidden("path_unusable", f"{path} is larger than any file of its kind; move it away.")
    return content.decode()


def write_private(file: Path, text: str) -> None:
    """Write ``file`` with mode 0600 from its first byte on; it is whole or absent. A link in its place is replaced.

    Raises Forbidden if there is a folder in its place.
    """
    part = file.with_name(file.name + ".part")
    for place in (file, part):
        if place.is_dir() and not place.is_symlink():
            raise Forbidden("path_unusable", f"{place} must be a file and is a folder; move it away.")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
    with os.fdopen(descriptor, "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)


def told(error: OSError) -> TidemillError:
    """For a process's main: what a disk refused, as one sentence with the place."""
    if isinstance(error, PermissionError):
        place = error.filename or "A file"
        return Forbidden("path_unreadable", f"{place} is closed to this user; see its owner and mode.")
    return Unavailable("disk_unavailable", f"{error.filename or 'The disk'}: {error.strerror}.")


def set_aside(path: Path, quarantine: Path) -> Path:
    """Move what lies at ``path`` into the folder ``quarantine``, under a name that is free; where it lies now."""
    kept = own_folder(quarantine) / f"{uuid7().hex}-{path.name[:_LONGEST_NAME]}"
    path.rename(kept)
    return kept


@contextlib.contextmanager
def _checked(path: Path, flags: int, owner: int | None) -> Iterator[int]:
    descriptor = _opened(path, flags)
    try:
        _require_owner(path, os.fstat(descriptor), owner)
        yield descriptor
    finally:
        os.close(descriptor)


def _opened(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
    except FileNotFoundError:
        raise NotFound("path_not_found", f"{path} does not exist.") from None
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise Forbidden("path_unreadable", f"{path} is closed to this user; see its owner and mode.") from None
        if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EISDIR):
            raise
        raise Forbidden(
            "path_unusable", f"{path} is a link, or no file or folder of the kind it must be; move it away."
        ) from None


def _require_owner(path: Path, info: os.stat_result, owner: int | None) -> None:
    if info.st_uid not in _trusted() and info.st_uid != owner:
        raise Forbidden("path_foreign", f"{path} belongs to another user. Remove it, or choose another place.")
    if info.st_mode & stat.S_IWOTH:
        raise Forbidden("path_open", f"Everybody may write to {path}. Look at what is there, then: chmod o-w {path}.")


def _require_safe_place(folder: Path) -> None:
    """Whoever owns a folder above, or may write to one without the sticky bit, may rename what is in it.

    Whoever owns this program can do anything anyway, as in a container that was given a user's folder.
    """
    trusted = _trusted() | {Path(__file__).stat().st_uid}
    for above in folder.parents:
        try:
            info = above.stat()
        except FileNotFoundError:
            continue  # made by us, closed to others
        if info.st_uid not in trusted:
            raise Forbidden(
                "place_foreign",
                f"{above} belongs to another user, who could put another folder in the place of {folder}. "
                "Choose another place.",
            )
        if info.st_mode & stat.S_IWOTH and not info.st_mode & stat.S_ISVTX:
            raise Forbidden(
                "place_open",
                f"Everybody may write to {above}, and so put another folder in the place of {folder}. "
                f"Look at what is there, then: chmod o-w {above}.",
            )


def _trusted() -> frozenset[int]:
    return frozenset({os.geteuid(), 0, Path("/").stat().st_uid})


def _links(path: Path) -> Iterator[Path]:
    """Every link on the way to ``path``, those that links lead over included."""
    waiting = [path.absolute()]
    for _ in range(_MOST_LINKS):
        if not waiting:
            return
        target = waiting.pop()
        for part in (*reversed(target.parents), target):
            if part.is_symlink():
                yield part
                waiting.append(part.parent / part.readlink() / target.relative_to(part))
                break
    if waiting:
        raise Forbidden("path_unusable", f"The links of {path} lead round in circles.")
