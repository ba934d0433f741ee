"""A text opened to be read without a copy of it: unpacked and decoded on the way, anew each time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

from tidemill.reading.detect import Head, refuse_binary
from tidemill.reading.text import decoded, encoding_of, guess_warnings, unpacked_chunks

Opener = Callable[[], IO[bytes]]
"""Opens the same bytes from their beginning, each time it is called; only the latest stream is read."""
_HEAD_BYTES = 64 * 2**10


@dataclass(frozen=True)
class OpenedText:
    """encoding: of the bytes; guessed: nothing in them proves it."""

    open_bytes: Opener
    limit_bytes: int
    encoding: str
    guessed: bool

    def chunks(self) -> Iterator[str]:
        """The text in pieces. Raises Invalid, by line, for what the encoding cannot hold."""
        return decoded(unpacked_chunks(self.open_bytes(), self.limit_bytes), self.encoding, self.guessed)

    @property
    def warnings(self) -> tuple[str, ...]:
        return guess_warnings(self.encoding, self.guessed)


def open_text(open_bytes: Opener, limit_bytes: int, encoding: str | None = None) -> OpenedText:
    """The text in the bytes that ``open_bytes`` gives, of at most ``limit_bytes`` once unpacked.

    Raises Invalid for what is damaged or holds NUL, TooLarge, and Unsupported for binary files and unknown encodings.
    """

    def chunks() -> Iterator[bytes]:
        return unpacked_chunks(open_bytes(), limit_bytes)

    if encoding is None:
        refuse_binary(Head(next(chunks(), b"")[:_HEAD_BYTES]))
    return OpenedText(open_bytes, limit_bytes, *encoding_of(chunks, encoding))
