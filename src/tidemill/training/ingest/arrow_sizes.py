"""What the batches of an Arrow IPC file take once they are unpacked, from their headers, before one is.

A compressed buffer begins with its length once unpacked, to which decoders hold it. Framing and field numbers are those
of the format's Message.fbs; its headers are Flatbuffers.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from tidemill.kit.thrift_compact import Damaged

_MAGIC = b"ARROW1\0\0"
_CONTINUES = 0xFFFFFFFF
_DICTIONARY, _RECORDS = 2, 3
_MOST_HEADER_BYTES = 2**26
_TAIL_BYTES = 10
_BUFFER = struct.Struct("<qq")
"""Offset and length."""
_BLOCK = struct.Struct("<q16x")
"""Offset, and lengths that the header there tells too."""


@dataclass(frozen=True, slots=True)
class BatchSize:
    """``size_bytes``: in memory while it is read, packed and unpacked."""

    size_bytes: int
    row_count: int
    is_dictionary: bool


def batch_sizes(stream: IO[bytes]) -> Iterator[BatchSize]:
    """Every batch, in order, of an open file in either form. Raises Damaged."""
    try:
        if stream.read(len(_MAGIC)) == _MAGIC:
            yield from _of_file(stream)
        else:
            yield from _of_stream(stream)
    except struct.error:
        raise Damaged from None


def _of_file(stream: IO[bytes]) -> Iterator[BatchSize]:
    """Where its footer says they are; nobody looks elsewhere."""
    end = stream.seek(0, 2) - _TAIL_BYTES
    stream.seek(max(0, end))
    length = struct.unpack("<i", stream.read(4))[0]
    if not 0 < length <= min(end, _MOST_HEADER_BYTES):
        raise Damaged
    stream.seek(end - length)
    data = stream.read(length)
    footer = _Table(data, struct.unpack_from("<I", data)[0])
    for field in (2, 3):
        for (at,) in footer.structs(field, _BLOCK):
            stream.seek(max(0, at))
            header = _next_header(stream)
            batch = None if header is None else _message(header)
            if batch is None or batch[2] is None:
                raise Damaged
            yield _size(stream, batch[0], batch[1], batch[2])


def _of_stream(stream: IO[bytes]) -> Iterator[BatchSize]:
    stream.seek(0)
    while (header := _next_header(stream)) is not None:
        begins = stream.tell()
        kind, body_bytes, batch = _message(header)
        if batch is not None:
            yield _size(stream, kind, body_bytes, batch)
        stream.seek(begins + body_bytes)


def _next_header(stream: IO[bytes]) -> bytes | None:
    prefix = stream.read(8)
    if len(prefix) < 8:
        return None
    mark, length = struct.unpack("<II", prefix)
    if mark != _CONTINUES:  # as Arrow wrote before version 0.15
        length = mark
        stream.seek(-4, 1)
    if length == 0:
        return None
    header = stream.read(length) if length <= _MOST_HEADER_BYTES else b""
    if len(header) < length:
        raise Damaged
    return header


class _Table:
    """A table of a Flatbuffer."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self.at = at
        self._fields = at - self._read("<i", at)
        self._end = self._read("<H", self._fields)

    def number(self, field: int, kind: str) -> int:
        place = self._place(field)
        return 0 if place is None else self._read(kind, place)

    def target(self, field: int) -> int | None:
        """Where the table or vector of a field begins."""
        place = self._place(field)
        return None if place is None else place + self._read("<I", place)

    def table(self, field: int) -> "_Table | None":
        target = self.target(field)
        return None if target is None else _Table(self._data, target)

    def structs(self, field: int, layout: struct.Struct) -> Iterator[tuple[int, ...]]:
        """The elements of a vector."""
        target = self.target(field)
        if target is None:
            return
        for index in range(self._read("<I", target)):
            yield layout.unpack_from(self._data, target + 4 + index * layout.size)

    def _place(self, field: int) -> int | None:
        entry = 4 + 2 * field
        offset = self._read("<H", self._fields + entry) if entry < self._end else 0
        return self.at + offset if offset else None

    def _read(self, kind: str, at: int) -> int:
        if at < 0:
            raise Damaged
        return int(struct.unpack_from(kind, self._data, at)[0])


def _message(header: bytes) -> tuple[int, int, _Table | None]:
    """Kind and length of the body of a message, and the batch that it describes, if it does."""
    message = _Table(header, struct.unpack_from("<I", header)[0])
    kind, body_bytes = message.number(1, "<B"), message.number(3, "<q")
    if body_bytes < 0:
        raise Damaged
    described = message.table(2)
    if described is None or kind not in (_DICTIONARY, _RECORDS):
        return kind, body_bytes, None
    return kind, body_bytes, described if kind == _RECORDS else described.table(1)


def _size(stream: IO[bytes], kind: int, body_bytes: int, batch: _Table) -> BatchSize:
    begins, size_bytes = stream.tell(), body_bytes
    if batch.target(3) is not None:
        for offset, length in batch.structs(2, _BUFFER):
            if length >= 8 and offset >= 0:
                stream.seek(begins + offset)
                size_bytes += max(0, struct.unpack("<q", stream.read(8))[0])
    return BatchSize(size_bytes, batch.number(0, "<q"), kind == _DICTIONARY)
