"""Where a large body is not JSON, told by the parser that tells it of small ones, without giving it all at once."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson

from tidemill.model_server.transports.sizes import chunks, count_values

_OUTER_LEVELS = 3
_PAUSE_SECONDS = 0.0002
_MOST_VALUES = 200_000
"""Of a piece: the parser makes an object of each before it comes to the damage."""
_COMMA = ord(",")
_DELTAS = np.zeros(256, dtype=np.int8)
_DELTAS[[ord("["), ord("{")]] = 1
_DELTAS[[ord("]"), ord("}")]] = -1
_SPACE = b" \t\n\r"
_INCOMPLETE = (b"[", b"{", b",")
"""Behind which no comma can stand."""
_CLOSING = {"[": b"]", "{": b"}"}
_OUTER = {"[": b"[", "{": b'{"":'}
_INNERMOST = {"[": b"[0,", "{": b'{"":0,'}


@dataclass(frozen=True, slots=True)
class Damage:
    """``line`` and ``column``, from 1, of the text that begins at ``start``."""

    start: int
    line: int
    column: int


def find_damage(body: bytes, piece_bytes: int) -> Damage | None:
    """The first place where ``body`` is no JSON; None if that would cost too much to find.

    A comma outside of texts ends a piece. What is open there is closed behind it and opened again before the next one,
    as often as the brackets before it say: up to the damage they are right.
    """
    for start, before, piece_end, after in _pieces(body, piece_bytes):
        text = before + body[start:piece_end] + after
        if len(text) > piece_bytes and count_values(text) > _MOST_VALUES:
            return None
        head = before + body[start:piece_end].rstrip(_SPACE)
        follows_nothing = bool(after) and head[-1:] in _INCOMPLETE
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError as error:
            if not follows_nothing or error.pos < len(head.decode(errors="replace")) - head.endswith(b","):
                return Damage(start, error.lineno, error.colno - (len(before) if error.lineno == 1 else 0))
        if follows_nothing:
            return Damage(piece_end, 1, 1)
        time.sleep(_PAUSE_SECONDS)
    return None


def _pieces(body: bytes, piece_bytes: int) -> Iterator[tuple[int, bytes, int, bytes]]:
    """Start and end of each piece, and what it needs in front and behind to be whole."""
    start, before = 0, b""
    for comma, opened in _commas(body):
        if comma - start >= piece_bytes:
            yield start, before, comma, b"".join(_CLOSING[kind] for kind in reversed(opened))
            start = comma + 1
            before = b"".join(_OUTER[kind] for kind in opened[:-1]) + _INNERMOST[opened[-1]]
    yield start, before, len(body), b""


def _commas(body: bytes) -> Iterator[tuple[int, str]]:
    """Those of the outer levels, and the brackets that are open there."""
    at, depth, opened = 0, 0, ""
    for codes, outside in chunks(body):
        deltas = _DELTAS[codes] * outside
        depths = np.cumsum(deltas, dtype=np.int64) + depth
        for position in _of_outer_levels(codes, outside, deltas, depths):
            level = int(depths[position])
            if level < 0:
                return
            code = chr(codes[position])
            if code == ",":
                yield at + int(position), opened
            else:
                opened = opened[: level - 1] + code if code in _OUTER else opened[:level]
        depth, at = int(depths[-1]), at + len(codes)


def _of_outer_levels(
    codes: npt.NDArray[np.uint8],
    outside: npt.NDArray[np.bool_],
    deltas: npt.NDArray[np.int8],
    depths: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Where commas stand, and brackets that open or close one of these levels."""
    is_comma = (codes == _COMMA) & outside & (depths > 0) & (depths <= _OUTER_LEVELS)
    is_bracket = (deltas != 0) & (np.minimum(depths, depths - deltas) < _OUTER_LEVELS)
    return np.flatnonzero(is_comma | is_bracket)
