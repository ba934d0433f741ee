"""Lines of a segment: ``<CRC-32 as 8 hex digits> <JSON>``, so that a torn or damaged line is recognised."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

_PREFIX_LENGTH = 9


def encode(payload: bytes) -> bytes:
    """``payload`` holds no line breaks, as JSON on one line does not."""
    return b"%08x %s\n" % (zlib.crc32(payload), payload)


def payload_of(line: bytes) -> bytes | None:
    """The JSON of a line without its line break; None if the line is damaged."""
    payload = line[_PREFIX_LENGTH:]
    if line[:_PREFIX_LENGTH] != b"%08x " % zlib.crc32(payload):
        return None
    return payload


@dataclass(frozen=True, slots=True)
class SegmentContent:
    """payloads: whole lines in order. damaged: whole lines that are not as they were written. torn: the cut end.

    What is answered was written through to its line break, so a torn end is either a row that was never answered, or
    one that damage cut off later; the segment's mark tells which.
    """

    payloads: list[bytes]
    damaged: list[bytes]
    torn: bytes

    @property
    def torn_bytes(self) -> int:
        return len(self.torn)


def read_content(content: bytes) -> SegmentContent:
    *lines, torn = content.split(b"\n")
    payloads, damaged = _sort_lines(lines)
    return SegmentContent(payloads, damaged, torn)


def _sort_lines(lines: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
    payloads: list[bytes] = []
    damaged: list[bytes] = []
    for line in lines:
        payload = payload_of(line)
        if payload is None:
            damaged.append(line)
        else:
            payloads.append(payload)
    return payloads, damaged
