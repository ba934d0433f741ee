"""What a computing child gives. Its word is not taken for where files lie, for what is in them, nor for its result."""

import os
import stat
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tidemill.kit.errors import Invalid
from tidemill.kit.hashing import sha256_of_file
from tidemill.kit.plain_json import is_plain

Record = TypeVar("Record", bound=BaseModel)


def returned_file(named: object, directory: Path, sha256: object = None, size_bytes: object = None) -> Path:
    """The file that a child named, once it is sure to be a plain file of its own below ``directory``.

    A child may have run code that is not ours, and could name a secret, or a link to one, to have it stored for all to
    read. Hash and size are compared where they are given: objects are stored under them. Raises Invalid.
    """
    if not isinstance(named, str) or "\0" in named:
        raise _refused()
    path = Path(named)
    root = directory.resolve(strict=True)
    try:
        path = path.parent.resolve(strict=True) / path.name
        found = os.lstat(path)
    except OSError:
        raise _refused() from None
    if (
        not path.is_relative_to(root)
        or not stat.S_ISREG(found.st_mode)
        or found.st_nlink != 1
        or found.st_uid != os.getuid()
    ):
        raise _refused()
    if size_bytes is not None and size_bytes != found.st_size:
        raise _refused()
    if sha256 is not None and sha256_of_file(path) != sha256:
        raise _refused()
    return path


def returned_record(kind: type[Record], found: dict[str, Any]) -> Record:
    """A child's result as ``kind``, of values that can be kept. Raises Invalid (``compute_result_refused``)."""
    try:
        record = kind.model_validate(found)
    except ValidationError:
        raise _refused() from None
    if not is_plain(found):
        raise _refused()
    return record


def _refused() -> Invalid:
    return Invalid("compute_result_refused", "The computation gave what is not its own, or not as it said.")
