"""Texts that no table and no database can keep: bytes that are not UTF-8, half a pair of surrogates, NUL."""

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.kit.errors import Invalid, Problem

_NUL = "\0"


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
