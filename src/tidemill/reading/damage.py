"""Errors of the libraries that decode files: what they raise about a file is its fault, what we raise is ours."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from tidemill.kit.errors import Invalid, TidemillError, TooLarge

_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOENT,
                          errno.EACCES, errno.EPERM})  # fmt: skip
"""Other numbers tell of places that a damaged file names and that no file has."""
_OURS = __name__.partition(".")[0]


@contextmanager
def decoding(kind: str, code: str = "file_damaged") -> Iterator[None]:
    """Turn whatever a library raises while it decodes a ``kind`` of file into Invalid.

    They raise many kinds for damage of one kind, from KeyError to exceptions of libraries below them, so that no list
    of them is ever complete. An error of our own code or of the disk stays what it is. Their words may hold values of
    the file, hence ours.
    """
    try:
        yield
    except TidemillError:
        raise
    except MemoryError as error:  # also what damaged sizes lead to
        detail = f"Reading the {kind} file takes more memory than there is; it is too large, or damaged."
        raise TooLarge("file_needs_memory", detail) from error
    except OSError as error:
        if error.errno in _OF_THE_DISK:
            raise
        raise _damaged(kind, code) from error
    except Exception as error:
        if _is_ours(error):
            raise
        raise _damaged(kind, code) from error


def _damaged(kind: str, code: str) -> Invalid:
    return Invalid(code, f"The {kind} file is damaged or cut short.")


def _is_ours(error: Exception) -> bool:
    """Whether our own code raised it, rather than something that it called."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    module = str(place.tb_frame.f_globals.get("__name__", "")) if place is not None else ""
    return module.partition(".")[0] == _OURS and type(error).__module__ in ("builtins", module)
