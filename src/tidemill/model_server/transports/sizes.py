"""What JSON and CSV will take as objects of Python, told from their bytes before they are parsed.

The costs are those of 64-bit CPython, rounded up; `tests/integration/serving/test_request_memory.py` measures them.
"""

from collections.abc import Mapping

import numpy as np

from tidemill.kit.json_shape import text_bytes

_OBJECT_BYTES, _LIST_BYTES, _MEMBER_BYTES, _VALUE_BYTES = 184, 80, 36, 80
_CELL_BYTES, _ROW_BYTES = 80, 260
_CHUNK_BYTES = 2**18
_QUOTE, _BACKSLASH = ord('"'), ord("\\")
_MARKS = {ord("{"): _OBJECT_BYTES, ord("["): _LIST_BYTES, ord(":"): _MEMBER_BYTES, ord(","): _VALUE_BYTES}
_CLOSE_LOOK_BYTES = 2**24


def json_bytes(body: bytes) -> int:
    """At most what ``body`` becomes, as JSON: marks within texts count only where that is cheaper than to look."""
    marks = sum(cost * body.count(mark) for mark, cost in _MARKS.items())
    return text_bytes(body) + (marks if marks <= _CLOSE_LOOK_BYTES else _marks_outside_texts(body, _MARKS))


def count_members(body: bytes) -> int:
    """Of all objects in ``body``, which is JSON: each has a colon."""
    return _marks_outside_texts(body, {ord(":"): 1})


def csv_bytes(body: bytes) -> int:
    """At most what ``body`` becomes, as delimited text in lists of cells."""
    rows = 1 + body.count(b"\n") + body.count(b"\r")
    cells = rows + sum(body.count(mark) for mark in b",;\t|")
    return rows * _ROW_BYTES + cells * _CELL_BYTES + text_bytes(body)


def _marks_outside_texts(body: bytes, worth: Mapping[int, int]) -> int:
    """Piece by piece, so that looking takes no memory of its own."""
    total, at, is_inside = 0, 0, False
    costs = np.zeros(256, dtype=np.int64)
    costs[list(worth)] = list(worth.values())
    while at < len(body):
        end = at + _CHUNK_BYTES
        while end < len(body) and body[end - 1] == _BACKSLASH:
            end += 1  # what a backslash escapes stays with it
        piece = body[at:end].replace(b"\\\\", b"").replace(b'\\"', b"")
        codes = np.frombuffer(piece, dtype=np.uint8)
        parity = np.logical_xor.accumulate(codes == _QUOTE) ^ is_inside if codes.size else np.zeros(0, bool)
        total += int(costs[codes[~parity]].sum())
        is_inside = bool(parity[-1]) if codes.size else is_inside
        at = end
    return total
