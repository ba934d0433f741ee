"""Deleting folders that somebody else has filled: as deep as they like, with links, closed to their owner.

`shutil.rmtree` calls itself once a level, so a folder of a few thousand levels, which a model's code makes in a moment,
ends whoever cleans up after it.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tidemill.kit.ids import uuid7


def remove_tree(path: Path) -> None:
    """Delete a folder with all that is in it. No link is followed; one that is gone already is no error.

    Raises OSError for what cannot be deleted; as much as can be is deleted before.
    """
    failure: OSError | None = None
    try:
        with _opened(str(path), None) as top:
            failure = _empty(top)
        path.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        raise failure or error from None


def discard_tree(path: Path) -> None:
    """As `remove_tree`, of what may as well stay if it cannot be deleted."""
    with contextlib.suppress(OSError):
        remove_tree(path)


def _empty(top: int) -> OSError | None:
    """Each folder's folders are moved up beside it before it is deleted, so that none lies deeper than its parent.

    Returns what failed last, if anything did.
    """
    failure: OSError | None = None
    stuck: set[str] = set()
    while folders := [name for name in _emptied(top) if name not in stuck]:
        for name in folders:
            try:
                with _opened(name, top) as folder:
                    for inner in _emptied(folder):
                        os.rename(inner, uuid7().hex, src_dir_fd=folder, dst_dir_fd=top)
                os.rmdir(name, dir_fd=top)
            except OSError as error:
                failure = error
                stuck.add(name)
    return failure


def _emptied(folder: int) -> list[str]:
    """Delete what is no folder; the names of those that are."""
    found = []
    with os.scandir(folder) as entries:
        listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in listed:
        if is_folder:
            found.append(name)
        else:
            with contextlib.suppress(OSError):  # told by the folder that is not empty then
                os.unlink(name, dir_fd=folder)
    return found


@contextlib.contextmanager
def _opened(name: str, parent: int | None) -> Iterator[int]:
    """A descriptor of a folder, which its owner may have closed to himself."""
    place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        with contextlib.suppress(OSError):  # somebody else's, or without /proc: then it is as it is
            Path(f"/proc/self/fd/{place}").chmod(0o700)
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
    finally:
        os.close(place)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
