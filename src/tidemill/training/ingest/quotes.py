"""Whether the quotes of delimited text mean what they seem to mean.

Arrow reads on without a word after a quote that closes in the middle of a field, and up to the end of the file after
one that never closes. Marks would be lost that way, and rows swallowed; hence every quote is looked at.
"""

import csv
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tidemill.reading.dialect import Dialect
from tidemill.reading.records import RecordLines, lines_of, next_record

_CHUNK_BYTES = 2**18
_NEWLINE, _RETURN = ord("\n"), ord("\r")


def check_quotes(path: Path, dialect: Dialect) -> None:
    """Raise Invalid with the line of the first row whose quotes are misplaced, never close or may join rows."""
    if dialect.quote is not None and not _are_plain(path, dialect):
        _check_closely(path, dialect)


def _are_plain(path: Path, dialect: Dialect) -> bool:
    """Whether every quote, judged by its neighbours alone, opens or closes a field or is one of a pair. Quick.

    None may run across lines, either, unless the text's quotes are known to be some.
    """
    if dialect.escape is not None or not dialect.delimiter.isascii():
        return False
    quote = ord(str(dialect.quote))
    bounds = np.zeros(256, dtype=bool)
    bounds[[ord(dialect.delimiter), quote, *b"\r\n"]] = True
    seen, before = 0, _NEWLINE
    with path.open("rb") as stream:
        while chunk := _chunk(stream, quote):
            places = np.flatnonzero(np.frombuffer(chunk, np.uint8) == quote)
            if not _are_bounded(chunk, places, bounds, before, seen % 2):
                return False
            if not dialect.quotes_proven and _holds_line_end(chunk, places, seen % 2):
                return False
            seen += len(places)
            before = chunk[-1]
    return seen % 2 == 0


def _chunk(stream: IO[bytes], quote: int) -> bytes:
    """Ends in no quote, so that what follows every quote is in the same piece."""
    chunk = stream.read(_CHUNK_BYTES)
    while chunk[-1:] == bytes([quote]) and (more := stream.read(1)):
        chunk += more
    return chunk


def _are_bounded(chunk: bytes, places: NDArray[np.intp], bounds: NDArray[np.bool_], before: int, first: int) -> bool:
    """Every other quote, from the one at ``first`` on, opens and follows a bound; those between are followed by one."""
    if not len(places):
        return True
    padded = np.frombuffer(b"%c%b\n" % (before, chunk), np.uint8)
    opening, closing = places[first::2], places[1 - first :: 2]
    return bool(bounds[padded[opening]].all() and bounds[padded[closing + 2]].all())


def _holds_line_end(chunk: bytes, places: NDArray[np.intp], first: int) -> bool:
    """Whether a line ends between a quote that opens and the one that closes it, as far as both are in this piece."""
    if not len(places) and not first:
        return False
    codes = np.frombuffer(chunk, np.uint8)
    ends = np.flatnonzero((codes == _NEWLINE) | (codes == _RETURN))
    return bool(((np.searchsorted(places, ends) + first) % 2).any())


def _check_closely(path: Path, dialect: Dialect) -> None:
    """Quotes within fields that do not begin with one are no quotes; only reading row by row tells."""
    options: dict[str, Any] = dialect.reader_options()
    quoting = dialect.quoting()
    with path.open(encoding="utf-8", newline="") as stream:
        lines = RecordLines(lines_of(iter(lambda: stream.read(_CHUNK_BYTES), "")))
        reader = csv.reader(lines, strict=True, **options)
        while (begins := lines.begin_record()) and (cells := next_record(reader, begins)) is not None:
            quoting.look(lines.record, len(cells), begins)
