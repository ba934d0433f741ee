"""Messages between the model server and a model's own process: a length of four bytes, then JSON."""

import struct
from typing import Any

import orjson

HEADER_BYTES = 4


def packed(message: dict[str, Any]) -> bytes:
    body = orjson.dumps(message, default=str, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    return struct.pack(">I", len(body)) + body


def body_length(header: bytes) -> int:
    return int(struct.unpack(">I", header)[0])


def unpacked(body: bytes) -> dict[str, Any]:
    """Raises ValueError for what is no message."""
    message = orjson.loads(body)
    if not isinstance(message, dict):
        raise ValueError("a message is an object")  # noqa: TRY004 - as for every other text that is no message
    return message
