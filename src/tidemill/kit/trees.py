"""Folders that code which is not ours has filled: removed and measured whatever their depth, names and modes.

Everything goes by descriptors of folders, so that no path grows too long; nothing follows a link.
"""

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_DEPTH = 64
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK_BYTES = 512
_MOVED = frozenset({errno.ENOENT, errno.ENOTDIR})
SHORT_OF_OUR_OWN = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def remove_tree(path: Path) -> bool:
    """Remove a folder with all that is in it; whether it is gone. What cannot be removed stays; nothing is raised.

    A link, or a file, in the folder's place is not touched, as `shutil.rmtree` would not.
    """
    with contextlib.suppress(OSError):
        with _opened(str(path), None) as root:
            _empty(root)
        path.rmdir()
    return not os.path.lexists(path)


@dataclass
class TreeSize:
    """files: and folders. size_bytes: the room that they take. is_whole: False if a folder could not be looked into, or
    lies deeper than `MAX_DEPTH`."""

    files: int = 0
    size_bytes: int = 0
    is_whole: bool = True


def tree_size(path: Path, most_files: int) -> TreeSize:
    """Of what lies in a folder now, counted until ``most_files`` are passed. One that is not there is empty."""
    found = TreeSize()
    _measure(str(path), None, found, most_files, 1)
    return found


def _empty(root: int) -> None:
    """Folders within are moved up to ``root`` before they are emptied: none lies deep, and two descriptors do."""
    names = _removed_files(root)
    while names:
        name = names.pop()
        with contextlib.suppress(OSError), _opened(name, root) as folder:
            for below in _removed_files(folder):
                raised = uuid.uuid4().hex
                with contextlib.suppress(OSError):
                    _make_usable(below, folder)
                    os.rename(below, raised, src_dir_fd=folder, dst_dir_fd=root)
                    names.append(raised)
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=root)


def _removed_files(folder: int) -> list[str]:
    """Remove all but folders; the names of these."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if not is_folder:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)
    return [name for name, is_folder in found if is_folder]


@contextlib.contextmanager
def _opened(name: str, parent: int | None) -> Iterator[int]:
    """A folder, made usable for its owner."""
    with contextlib.suppress(OSError):
        _make_usable(name, parent)
    descriptor = os.open(name, _FOLDER, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _make_usable(name: str, parent: int | None) -> None:
    """Of a folder alone, even if a link is put into its place meanwhile."""
    if not hasattr(os, "O_PATH"):
        os.chmod(name, stat.S_IRWXU, dir_fd=parent, follow_symlinks=False)
        return
    descriptor = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if os.fstat(descriptor).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            Path(f"/proc/self/fd/{descriptor}").chmod(stat.S_IRWXU)
    finally:
        os.close(descriptor)


def _measure(name: str, parent: int | None, found: TreeSize, most_files: int, depth: int) -> None:
    if depth > MAX_DEPTH:
        found.is_whole = False
        return
    try:
        descriptor = os.open(name, _FOLDER, dir_fd=parent)
    except OSError as error:
        found.is_whole = found.is_whole and error.errno in _MOVED | SHORT_OF_OUR_OWN
        return
    try:
        for below in _counted(descriptor, found, most_files):
            _measure(below, descriptor, found, most_files, depth + 1)
    finally:
        os.close(descriptor)


def _counted(descriptor: int, found: TreeSize, most_files: int) -> list[str]:
    """Count what lies in one folder; the names of the folders there."""
    folders = []
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                if found.files > most_files:
                    return []
                found.files += 1
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    found.size_bytes += status.st_blocks * _BLOCK_BYTES
                    if stat.S_ISDIR(status.st_mode):
                        folders.append(entry.name)
    except OSError as error:
        found.is_whole = found.is_whole and error.errno in SHORT_OF_OUR_OWN
    return folders
