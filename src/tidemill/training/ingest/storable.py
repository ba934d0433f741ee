"""Texts that no table and no database can keep: bytes that are not UTF-8, half a pair of surrogates, NUL."""

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.kit.errors import Invalid, Problem

_NUL = "\0"
_BYTES = {
    pa.string(): pa.binary(),
    pa.large_string(): pa.large_binary(),
    pa.string_view(): pa.binary_view(),
}
"""The same buffers, as bytes that need not be UTF-8."""


def is_storable(text: str) -> bool:
    try:
        return _NUL not in text and text.encode() is not None
    except UnicodeEncodeError:
        return False


def text_array(texts: Sequence[str | None]) -> tuple[Any, int | None]:
    """An array of ``texts``, and the index of the first one that cannot be kept, if there is one."""
    try:
        array = pa.array(texts, pa.string())
    except UnicodeEncodeError:
        wrong = (index for index, text in enumerate(texts) if text is not None and not is_storable(text))
        return None, next(wrong)
    return array, first_with_nul(array)


def check_structure(values: Any) -> None:
    """Raise ArrowInvalid for an array whose offsets or indices lead out of it.

    Arrow reads files of its own format as they are in memory and believes them: working with such an array reads
    foreign memory, or ends the process. Texts are looked at as bytes, whose encoding is another matter.
    """
    kind = values.type
    if pa.types.is_dictionary(kind):
        check_structure(values.indices)
        check_structure(values.dictionary)
        bounds = pc.min_max(values.indices)
        least, greatest = bounds["min"].as_py(), bounds["max"].as_py()
        if greatest is not None and not 0 <= least <= greatest < len(values.dictionary):
            raise pa.ArrowInvalid("an index leads out of its dictionary")
    elif (as_bytes := _BYTES.get(kind)) is not None:
        whole = values.offset + len(values)
        pa.Array.from_buffers(as_bytes, whole, values.buffers()).validate(full=True)
    else:
        values.validate(full=True)


def first_not_utf8(values: Any) -> int | None:
    """The index of the first text that is not UTF-8: files may say that bytes are text, and be wrong."""
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        plain = values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
        raw = plain.cast(pa.large_binary()).to_pylist()
        return next((index for index, text in enumerate(raw) if text is not None and not _is_utf8(text)), 0)
    return None


def first_with_nul(values: Any) -> int | None:
    """The index of the first text with a NUL character."""
    found = np.flatnonzero(pc.match_substring(values, _NUL).fill_null(False).to_numpy(zero_copy_only=False))
    return int(found[0]) if found.size else None


def refuse_text(number: int, name: str) -> NoReturn:
    """``number``: of the row."""
    problem = Problem(f"row {number}, column {name}", "text_invalid", "The text is not UTF-8, or holds NUL.")
    raise Invalid("text_invalid", f"The text in row {number} of column {name} cannot be kept.", [problem])


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
