"""What JSON and CSV will take as objects of Python, told from their bytes before they are parsed.

The costs are those of 64-bit CPython, rounded up; `tests/integration/serving/test_request_memory.py` measures them.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tidemill.kit.json_shape import text_bytes

_OBJECT_BYTES, _LIST_BYTES, _MEMBER_BYTES, _VALUE_BYTES = 184, 80, 36, 80
_CELL_BYTES, _ROW_BYTES = 80, 260
_CHUNK_BYTES = 2**18
_STEP_BYTES = 2**20
_QUOTE = ord('"')
_MARKS = {ord("{"): _OBJECT_BYTES, ord("["): _LIST_BYTES, ord(":"): _MEMBER_BYTES, ord(","): _VALUE_BYTES}
_CLOSE_LOOK_BYTES = 2**24


def json_bytes(body: bytes) -> int:
    """At most what ``body`` becomes, as JSON: marks within texts count only where that is cheaper than to look."""
    marks = sum(cost * _count(body, bytes((mark,))) for mark, cost in _MARKS.items())
    return text_bytes(body) + (marks if marks <= _CLOSE_LOOK_BYTES else _marks_outside_texts(body, _MARKS))


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


def unescaped_chunk(body: bytes, at: int) -> npt.NDArray[np.uint8]:
    """Some bytes of JSON from ``at``, with blanks for what a backslash escapes and for the backslash."""
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
    """Piece by piece, so that looking takes no memory of its own."""
    total, at, is_inside = 0, 0, False
    costs = np.zeros(256, dtype=np.int64)
    costs[list(worth)] = list(worth.values())
    while at < len(body):
        codes = unescaped_chunk(body, at)
        parity = np.logical_xor.accumulate(codes == _QUOTE) ^ is_inside
        total += int(costs[codes[~parity]].sum())
        is_inside, at = bool(parity[-1]), at + len(codes)
    return total
