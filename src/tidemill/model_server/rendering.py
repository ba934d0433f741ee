"""Large values become JSON piece by piece: writing them in one call keeps every other thread waiting until it ends."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

_PIECE_BYTES = 2**16
_FIRST_ELEMENTS = 16
_PAUSE_SECONDS = 0.0002
"""After each piece, long enough for the event loop to go on: giving way without it is not enough."""


def list_pieces(values: Sequence[Any]) -> Iterator[bytes]:
    """What together is ``values`` as JSON, in pieces of some 64 KiB, or of one element that is larger."""
    opening, at, count = b"[", 0, _FIRST_ELEMENTS
    while at < len(values):
        piece = orjson.dumps(values[at : at + count])
        yield opening + piece[1:-1]
        opening, at = b",", at + count
        count = max(1, min(2 * count, count * _PIECE_BYTES // len(piece)))  # as long as the last ones were
    yield b"]" if values else b"[]"


def object_bytes(members: Mapping[str, Any]) -> bytes:
    """``members`` as JSON, those that are lists in pieces. Only for a thread beside the event loop: it pauses."""
    return b"".join(_paced(_object_pieces(members)))


def _object_pieces(members: Mapping[str, Any]) -> Iterator[bytes]:
    opening = b"{"
    for name, value in members.items():
        yield opening + orjson.dumps(name) + b":"
        yield from list_pieces(value) if isinstance(value, list) else [orjson.dumps(value)]
        opening = b","
    yield b"}" if members else b"{}"


def _paced(pieces: Iterator[bytes]) -> Iterator[bytes]:
    since_pause = 0
    for piece in pieces:
        yield piece
        since_pause += len(piece)
        if since_pause >= _PIECE_BYTES // 2:
            since_pause = 0
            time.sleep(_PAUSE_SECONDS)
