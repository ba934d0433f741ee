"""What JSON and CSV will take as objects of Python, told from their bytes before they are parsed.

The costs are those of 64-bit CPython, rounded up; `tests/integration/serving/test_request_memory.py` measures them.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from tidemill.kit.json_shape import text_bytes

_OBJECT_BYTES, _LIST_BYTES, _MEMBER_BYTES, _VALUE_BYTES = 184, 80, 36, 80
_CELL_BYTES, _ROW_BYTES = 80, 260
_NODE_BYTES = 8
"""Of the parser's own tree, beyond what a value's bytes are rounded up by: all of it is there beside the values."""
_CHUNK_BYTES = 2**18
_STEP_BYTES = 2**20
_QUOTE = ord('"')
_IS_NUMERAL = np.zeros(256, dtype=np.bool_)
_IS_NUMERAL[list(b"0123456789.eE+-")] = True
_MARKS = {ord("{"): _OBJECT_BYTES, ord("["): _LIST_BYTES, ord(":"): _MEMBER_BYTES, ord(","): _VALUE_BYTES}
_CLOSE_LOOK_BYTES = 2**24


def json_bytes(body: bytes) -> int:
    """At most what ``body`` becomes, as JSON: marks within texts count only where that is cheaper than to look."""
    marks = sum(cost * _count(body, bytes((mark,))) for mark, cost in _MARKS.items())
    return text_bytes(body) + (marks if marks <= _CLOSE_LOOK_BYTES else _marks_outside_texts(body, _MARKS))


def parsed_at_once_bytes(body: bytes) -> int:
    """At most what parsing ``body`` in one go takes."""
    return json_bytes(body) + _NODE_BYTES * _count(body, b",")


def count_members(body: bytes) -> int:
    """Of all objects in ``body``, which is JSON: each has a colon."""
    return _marks_outside_texts(body, {ord(":"): 1})


def count_values(body: bytes) -> int:
    """Of all lists and objects in ``body``, which is JSON; an empty one counts as a value too."""
    return _marks_outside_texts(body, {ord("{"): 1, ord("["): 1, ord(","): 1})


def csv_bytes(body: bytes) -> int:
    """At most what ``body`` becomes, as delimited text in lists of cells."""
    rows = 1 + _count(body, b"\n") + _count(body, b"\r")
    cells = rows + sum(_count(body, mark) for mark in (b",", b";", b"\t", b"|"))
    return rows * _ROW_BYTES + cells * _CELL_BYTES + text_bytes(body)


def has_long_number(body: bytes, most_characters: int) -> bool:
    """Whether a number in ``body``, which is JSON, is longer than that."""
    run = 0  # of characters of a number at the end of what was looked at
    for codes, outside in chunks(body):
        others = np.flatnonzero(~(_IS_NUMERAL[codes] & outside))
        if not len(others):
            run += len(codes)
        elif run + others[0] > most_characters or np.diff(others).max(initial=0) > most_characters + 1:
            return True
        else:
            run = len(codes) - 1 - int(others[-1])
        if run > most_characters:
            return True
    return False


def chunks(body: bytes) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]]:
    """The codes of JSON and which of them are outside of texts, piece by piece, so that looking takes no memory.

    Blanks stand for what a backslash escapes, and for the backslash. Closing quotes count as outside.
    """
    at, is_inside = 0, False
    while at < len(body):
        codes = _unescaped_chunk(body, at)
        inside = np.logical_xor.accumulate(codes == _QUOTE) ^ is_inside
        yield codes, ~inside
        is_inside, at = bool(inside[-1]), at + len(codes)


def _unescaped_chunk(body: bytes, at: int) -> npt.NDArray[np.uint8]:
    chunk = body[at : at + _CHUNK_BYTES]
    if b"\\" in chunk:
        if (len(chunk) - len(chunk.rstrip(b"\\"))) % 2 and at + len(chunk) < len(body):
            chunk = chunk[:-1]  # what a backslash escapes stays with it
        chunk = chunk.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
    return np.frombuffer(chunk, dtype=np.uint8)


def _count(body: bytes, mark: bytes) -> int:
    """In steps, between which other threads run."""
    return sum(body.count(mark, at, at + _STEP_BYTES) for at in range(0, len(body), _STEP_BYTES))


def _marks_outside_texts(body: bytes, worth: Mapping[int, int]) -> int:
    costs = np.zeros(256, dtype=np.int64)
    costs[list(worth)] = list(worth.values())
    return sum(int(costs[codes[outside]].sum()) for codes, outside in chunks(body))
