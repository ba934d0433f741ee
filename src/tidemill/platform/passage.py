"""Let one other user pass through a folder, and nobody else: by an entry in its access control list (``acl(5)``).

The mode alone cannot say that: its bits are for a group, or for everybody. The list is the kernel's, as the value of
an extended attribute, so no program is needed to write it.
"""

import errno
import os
import struct
from pathlib import Path

_ATTRIBUTE = "system.posix_acl_access"
_HEADER, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
_VERSION = 2
_OWNER, _USER, _GROUP_OF_FILE, _GROUP, _MASK, _OTHERS = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NOBODY = 0xFFFFFFFF
"""In entries that name no one."""
_SEARCH = 0o1

_Entries = dict[tuple[int, int], int]
"""Rights by kind and id."""


def let_pass(folder: Path, uid: int) -> bool:
    """Give the user ``uid`` search permission on ``folder``, which is ours. False where the file system has no lists.

    Also False where that would give others more than they had: a list whose mask takes the right from its entries.
    """
    try:
        entries = _read(folder)
        if not _SEARCH & entries.get((_MASK, _NOBODY), _SEARCH):
            return False
        entries[_USER, uid] = entries.get((_USER, uid), 0) | _SEARCH
        limited = [rights for (kind, _), rights in entries.items() if kind in (_USER, _GROUP_OF_FILE, _GROUP)]
        if (_MASK, _NOBODY) not in entries:
            entries[_MASK, _NOBODY] = _union(limited)
        os.setxattr(folder, _ATTRIBUTE, _written(entries))
    except (OSError, ValueError):
        return False
    return True


def may_pass(folder: Path, uid: int) -> bool:
    """Whether the folder's list has such an entry already."""
    try:
        entries = _read(folder)
    except (OSError, ValueError):
        return False
    return bool(entries.get((_USER, uid), 0) & entries.get((_MASK, _NOBODY), 0) & _SEARCH)


def _read(folder: Path) -> _Entries:
    """The list, or what the mode says where there is none. Raises OSError, ValueError for a list of another version."""
    try:
        content = os.getxattr(folder, _ATTRIBUTE)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        mode = folder.stat().st_mode
        shifts = {_OWNER: 6, _GROUP_OF_FILE: 3, _OTHERS: 0}
        return {(kind, _NOBODY): mode >> shift & 0o7 for kind, shift in shifts.items()}
    if content[: _HEADER.size] != _HEADER.pack(_VERSION):
        raise ValueError("a list of another version")
    return {(kind, who): rights for kind, rights, who in _ENTRY.iter_unpack(content[_HEADER.size :])}


def _written(entries: _Entries) -> bytes:
    """As the kernel wants it: by kind, then by id."""
    parts = [_ENTRY.pack(kind, rights, who) for (kind, who), rights in sorted(entries.items())]
    return _HEADER.pack(_VERSION) + b"".join(parts)


def _union(rights: list[int]) -> int:
    found = 0
    for each in rights:
        found |= each
    return found
