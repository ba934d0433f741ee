"""Reading feedback from CSV and NDJSON: bounded memory, every fault named by its row.

A file is kept on the disk until it is read, so that its encoding and its quotes are judged as those of any other file.
"""

import asyncio
import itertools
import os
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import IO, Protocol

from tidemill.features.feedback.rows import ToldTruth
from tidemill.kit import ids
from tidemill.kit.errors import Invalid, Problem, TooLarge, Unavailable, Unsupported
from tidemill.kit.moments import moment_of_text
from tidemill.reading.content_type import declared_encoding
from tidemill.reading.json_lines import RepeatedMember, object_of
from tidemill.reading.opened import OpenedText, Opener, open_text
from tidemill.reading.records import DelimitedText, Record, lines_of
from tidemill.schemas.datasets import IngestOptions
from tidemill.schemas.feedback import FeedbackFileQuery, is_truth

CSV_TYPES = frozenset({"text/csv", "text/tab-separated-values"})
NDJSON_TYPES = frozenset({"application/x-ndjson", "application/jsonlines", "application/x-jsonlines"})
_BATCH_ROWS = 5_000
_WRITTEN_BYTES = 2**20
_MOST_MEMBERS = 1_000_000
"""Of a row of NDJSON: each takes up to a hundred bytes, however few it is written with."""
_DELIMITED = IngestOptions(has_header=True)

FileRow = ToldTruth | Problem | None
"""None is a row without a truth: predictions whose truth is not known yet."""


class Rows(Protocol):
    @property
    def warnings(self) -> Sequence[str]:
        """What was guessed about the file as a whole and may be wrong."""

    def read(self) -> Iterator[FileRow]:
        """All rows in order. Raises Invalid for what cannot be read at all."""


class NdjsonRows:
    """One JSON object a line; rows count from 1, empty lines included."""

    def __init__(self, text: OpenedText, query: FeedbackFileQuery) -> None:
        self._text = text
        self._query = query
        self.warnings = text.warnings

    def read(self) -> Iterator[FileRow]:
        for number, line in enumerate(lines_of(self._text.chunks()), start=1):
            if line.strip():
                yield self._read_line(line, f"row {number}")

    def _read_line(self, line: str, place: str) -> FileRow:
        if sum(map(line.count, "[{,")) > _MOST_MEMBERS:
            raise TooLarge("feedback_row_too_long", f"The row has over {_MOST_MEMBERS} members ({place}).")
        try:
            record = object_of(line)
        except RepeatedMember:
            return Problem(place, "member_repeated", "Two members have the same name.")
        if record is None:
            return Problem(place, "row_not_object", "The row is not a JSON object.")
        if self._query.id_column not in record:
            return Problem(place, "column_missing", f"The row has no member {self._query.id_column}.")
        truth = record.get(self._query.truth_column)
        if truth is None:
            return None
        observed_at = record.get(self._query.observed_at_column) if self._query.observed_at_column else None
        return _row(place, self._query, (record[self._query.id_column], truth, observed_at), text=None)


class CsvRows:
    """Delimited text with a header, read as that of datasets. Rows are told by the line they begin on."""

    def __init__(self, text: OpenedText, query: FeedbackFileQuery) -> None:
        self._query = query
        wanted = [query.id_column, query.truth_column]
        wanted += [query.observed_at_column] if query.observed_at_column else []
        self._text = DelimitedText(text, _DELIMITED, wanted)
        self.warnings = self._text.warnings
        missing = [name for name in wanted if name not in self._text.names]
        if missing:
            problems = [
                Problem(f"row 1, column {name}", "column_missing", "The header has no such column.") for name in missing
            ]
            raise Invalid("column_missing", f"The file has no column {missing[0]}.", problems)
        self._places = [self._text.names.index(name) for name in wanted]

    def read(self) -> Iterator[FileRow]:
        for record in self._text.records():
            yield self._text.ragged(record) or self._read_cells(record)

    def _read_cells(self, record: Record) -> FileRow:
        id_cell, truth, *observed_at = [record.cells[place] for place in self._places]
        if truth is None or not truth.strip():
            return None
        moment = (observed_at[0] or "").strip() if observed_at else ""
        cells = ((id_cell or "").strip(), truth, moment or None)
        return _row(f"row {record.line}", self._query, cells, text=truth)


def _row(place: str, query: FeedbackFileQuery, cells: tuple[object, object, object], text: str | None) -> FileRow:
    prediction_id, truth, observed_at = cells
    id_place, truth_place = f"{place}, column {query.id_column}", f"{place}, column {query.truth_column}"
    moment_place = f"{place}, column {query.observed_at_column}"
    if not isinstance(prediction_id, str) or not ids.is_id(prediction_id, ids.PREDICTION):
        return Problem(id_place, "prediction_id_invalid", "This is no id of a prediction.")
    if not is_truth(truth):
        return Problem(truth_place, "truth_invalid", "This cannot be a truth.")
    moment = None
    if observed_at is not None:
        moment = _moment(observed_at)
        if moment is None:
            detail = "A time is written as in 2026-01-31T12:00:00Z, with its zone."
            return Problem(moment_place, "time_invalid", detail)
    return ToldTruth(truth_place, prediction_id, truth, moment, text, id_place, moment_place)  # type: ignore[arg-type]


def _moment(text: object) -> datetime | None:
    moment = moment_of_text(text) if isinstance(text, str) else None
    return moment if moment is not None and moment.tzinfo is not None else None


@asynccontextmanager
async def spooled(chunks: AsyncIterable[bytes]) -> AsyncIterator[Opener]:
    """The whole upload, in a file without a name, of which nothing stays. Raises Unavailable if there is no room."""
    try:
        file = await asyncio.to_thread(tempfile.TemporaryFile)
    except OSError:
        raise _no_room() from None
    with file:
        async for piece in _in_pieces(chunks):
            await asyncio.to_thread(_write, file, piece)
        yield lambda: _opened(file)


def _write(file: IO[bytes], piece: bytes) -> None:
    try:
        file.write(piece)
        file.flush()
    except OSError:
        raise _no_room() from None


def _no_room() -> Unavailable:
    return Unavailable("disk_full", "The server has no room for the file.")


async def _in_pieces(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    waiting = bytearray()
    async for chunk in chunks:
        waiting += chunk
        if len(waiting) >= _WRITTEN_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


def _opened(file: IO[bytes]) -> IO[bytes]:
    """From the beginning. Closing what this gives leaves ``file`` open."""
    file.seek(0)
    return os.fdopen(os.dup(file.fileno()), "rb")


def reader_for(content_type: str, query: FeedbackFileQuery, open_bytes: Opener, limit_bytes: int) -> Rows:
    """``limit_bytes``: once the file is unpacked. The encoding may be named, as in ``text/csv; charset=cp1252``.

    Raises Unsupported for a media type that is neither CSV nor NDJSON; Invalid, TooLarge for what cannot be read.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in CSV_TYPES | NDJSON_TYPES:
        raise Unsupported("feedback_type_unsupported", "Feedback files are text/csv or application/x-ndjson.")
    text = open_text(open_bytes, limit_bytes, declared_encoding(content_type))
    return CsvRows(text, query) if media_type in CSV_TYPES else NdjsonRows(text, query)


async def batches(rows: Rows, batch_rows: int = _BATCH_ROWS) -> AsyncIterator[list[FileRow]]:
    """Rows in batches of at most ``batch_rows``, read in a thread."""
    reading = rows.read()
    while batch := await asyncio.to_thread(lambda: list(itertools.islice(reading, batch_rows))):
        yield batch
