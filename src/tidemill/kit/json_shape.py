"""What JSON will become, told from its bytes before it is parsed: how many values, how deep, how long its numbers.

A parser makes an object of every two bytes and recurses for every bracket. Whoever parses in an event loop, for callers
who may send what they like, asks here first. Only operations on whole byte strings, which take a few milliseconds for
the largest body.
"""

import re
from dataclasses import dataclass
from itertools import accumulate

from tidemill.kit.errors import Malformed, TooLarge

_VALUE_BYTES = 300
"""Of an element or a member with its key and its share of what holds it, rounded up."""
_ASTRAL = re.compile(rb"\\u[dD][89abAB]|[\xf0-\xf4]")
"""Characters beyond 16 bits: each character of a text with one takes four bytes, and its UTF-8 is kept beside it."""
_BRACKETS = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}
_CLOSING = (b"}", b"]")
_NO_BRACKET = bytes(byte for byte in range(256) if byte not in _BRACKETS)
_PIECE_BYTES = 2**20
_ESCAPE_BYTES = 4
_FEWEST_BEYOND_64_BITS = 20
"""Characters of an integer, its sign included."""
_DIGITS = bytes(ord("0") if chr(byte) in "0123456789-" else ord(" ") for byte in range(256))
_NUMERALS = bytes(ord("0") if chr(byte) in "0123456789.eE+-" else ord(" ") for byte in range(256))


@dataclass(frozen=True, slots=True)
class ShapeLimits:
    """``values``: elements and members together; ``depth``: of brackets; ``number_characters``: of one number."""

    values: int
    depth: int
    number_characters: int


def check_shape(body: bytes, limits: ShapeLimits) -> int:
    """At most how many bytes ``body`` takes as objects of Python. Whether it is JSON at all is not looked at.

    Raises TooLarge for a body of too many values, Malformed for one beyond the other limits or in another encoding than
    UTF-8, which could hide them.
    """
    if b"\0" in body:
        raise _not_json()
    unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    if unescaped.count(b'"') > 4 * limits.values + 4:  # each value may have a key, each of both two quotes
        raise _too_many_values(limits)
    outside = b'"'.join(unescaped.split(b'"')[::2])
    values = 1 + sum(outside.count(mark) for mark in (b",", b"[", b"{"))
    if values > limits.values:
        raise _too_many_values(limits)
    if sum(map(outside.count, _CLOSING)) > values:  # each closes one that was counted
        raise _not_json()
    if max(accumulate(map(_BRACKETS.__getitem__, outside.translate(None, _NO_BRACKET))), default=0) > limits.depth:
        raise Malformed("json_too_deep", f"The body nests deeper than {limits.depth} levels.")
    if _holds_run(outside, _NUMERALS, limits.number_characters + 1):
        most = limits.number_characters
        raise Malformed("json_number_too_long", f"A number in the body has more than {most} characters.")
    return 2 * text_bytes(body) + values * _VALUE_BYTES  # the parser decodes the whole text first


def may_exceed_64_bits(body: bytes) -> bool:
    """Whether an integer in ``body`` may have more than 64 bits; also true of some texts and fractions.

    orjson, which is fast, reads such integers as floats.
    """
    return _holds_run(body, _DIGITS, _FEWEST_BEYOND_64_BITS)


def _holds_run(body: bytes, marked: bytes, length: int) -> bool:
    """Whether so many bytes that ``marked`` translates to 0 follow each other. Far faster than a pattern."""
    pieces = (body[at : at + _PIECE_BYTES + length] for at in range(0, len(body), _PIECE_BYTES))
    return any(b"0" * length in piece.translate(marked) for piece in pieces)


def text_bytes(body: bytes) -> int:
    """At most what the texts of ``body``, which is UTF-8, take in Python."""
    if body.isascii() and b"\\u" not in body:
        return len(body)
    pieces = range(0, len(body), _PIECE_BYTES)  # between which other threads run
    is_astral = any(_ASTRAL.search(body, at, at + _PIECE_BYTES + _ESCAPE_BYTES) for at in pieces)
    return len(body) * (5 if is_astral else 3)


def _not_json() -> Malformed:
    return Malformed("body_not_json", "The body is not JSON in UTF-8.")


def _too_many_values(limits: ShapeLimits) -> TooLarge:
    return TooLarge("json_too_many_values", f"The body has more than {limits.values} values; send it in parts.")
