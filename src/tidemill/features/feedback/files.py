"""Reading feedback from CSV and NDJSON as it streams in: bounded memory, every fault named by its row."""

import codecs
import csv
import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from datetime import datetime

from tidemill.features.feedback.rows import ToldTruth
from tidemill.kit import ids
from tidemill.kit.errors import Invalid, Problem, TooLarge, Unsupported
from tidemill.kit.limits import MAX_ROW_BYTES
from tidemill.schemas.feedback import FeedbackFileQuery, is_truth

CSV_TYPES = frozenset({"text/csv", "text/tab-separated-values"})
NDJSON_TYPES = frozenset({"application/x-ndjson", "application/jsonlines", "application/x-jsonlines"})
MAX_ROW_CHARACTERS = MAX_ROW_BYTES
_DELIMITERS = ",;\t|"
_BATCH_ROWS = 5_000
_MOST_MEMBERS = 1_000_000
"""Of a row of NDJSON: each takes up to a hundred bytes, however few it is written with."""

FileRow = ToldTruth | Problem | None
"""None is a row without a truth: predictions whose truth is not known yet."""


class LineSplitter:
    """Cuts a byte stream into lines of text. Raises Invalid or TooLarge naming the row."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._rest: list[str] = []
        self._lines = 0

    def feed(self, data: bytes, *, final: bool = False) -> list[str]:
        try:
            text = self._decoder.decode(data, final)
        except UnicodeDecodeError:
            raise Invalid("feedback_not_utf8", f"The file is not UTF-8 text (near row {self._lines + 1}).") from None
        lines: list[str] = []
        if final or "\n" in text:
            lines = "".join([*self._rest, text]).split("\n")
            text = "" if final else lines.pop()
            self._rest.clear()
        self._rest.append(text)
        if final and lines[-1] == "":
            lines.pop()
        self._lines += len(lines)
        if sum(map(len, self._rest)) > MAX_ROW_CHARACTERS:
            raise TooLarge("feedback_row_too_long", f"Row {self._lines + 1} has over {MAX_ROW_CHARACTERS} characters.")
        return lines


class NdjsonRows:
    """One JSON object a line; rows count from 1, empty lines included."""

    def __init__(self, query: FeedbackFileQuery) -> None:
        self._query = query
        self._row = 0

    def read(self, lines: Iterable[str]) -> list[FileRow]:
        rows = []
        for line in lines:
            self._row += 1
            if line.strip():
                rows.append(self._read_line(line))
        return rows

    def close(self) -> list[FileRow]:
        return []

    def _read_line(self, line: str) -> FileRow:
        place = f"row {self._row}"
        if sum(map(line.count, "[{,")) > _MOST_MEMBERS:
            raise TooLarge("feedback_row_too_long", f"Row {self._row} has over {_MOST_MEMBERS} members.")
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            return Problem(place, "row_not_object", "The row is not a JSON object.")
        if self._query.id_column not in record:
            return Problem(place, "column_missing", f"The row has no member {self._query.id_column}.")
        truth = record.get(self._query.truth_column)
        if truth is None:
            return None
        observed_at = record.get(self._query.observed_at_column) if self._query.observed_at_column else None
        return _row(place, self._query, (record[self._query.id_column], truth, observed_at), text=None)


class CsvRows:
    """CSV with a header; the delimiter is the one that makes the wanted columns appear. The header is row 1."""

    def __init__(self, query: FeedbackFileQuery) -> None:
        self._query = query
        self._row = 0
        self._open: list[str] = []
        self._open_characters = 0
        self._is_quoted = False
        self._delimiter = ","
        self._width = 0
        self._places: tuple[int, int, int | None] | None = None

    def read(self, lines: Iterable[str]) -> list[FileRow]:
        rows: list[FileRow] = []
        for line in lines:
            self._open.append(line)
            self._open_characters += len(line) + 1
            self._is_quoted ^= line.count('"') % 2 == 1
            if self._open_characters > MAX_ROW_CHARACTERS:
                raise TooLarge("feedback_row_too_long", f"Row {self._row + 1} is too long, or a quote never closes.")
            if self._is_quoted:
                continue  # a line break inside quotes
            rows.extend(self._read_record("\n".join(self._open)))
            self._open.clear()
            self._open_characters = 0
        return rows

    def close(self) -> list[FileRow]:
        if self._open:
            return [Problem(f"row {self._row + 1}", "quote_open", "The row has a quote that never closes.")]
        if self._places is None:
            raise Invalid("feedback_empty", "The file is empty: not even a header.")
        return []

    def _read_record(self, record: str) -> list[FileRow]:
        self._row += 1
        record = record.removesuffix("\r")
        if self._places is None:
            self._read_header(record)
            return []
        return [self._read_cells(self._cells(record))] if record.strip() else []

    def _cells(self, record: str) -> list[str]:
        return next(csv.reader([record], delimiter=self._delimiter))

    def _read_header(self, record: str) -> None:
        wanted = [self._query.id_column, self._query.truth_column]
        wanted += [self._query.observed_at_column] if self._query.observed_at_column else []
        headers = {mark: next(csv.reader([record], delimiter=mark), []) for mark in _DELIMITERS}
        self._delimiter = max(_DELIMITERS, key=lambda mark: len(set(wanted) & set(headers[mark])))
        header = headers[self._delimiter]
        problems = [
            Problem(f"row 1, column {name}", "column_missing", "The header does not have exactly one such column.")
            for name in wanted
            if header.count(name) != 1
        ]
        if problems:
            raise Invalid("column_missing", f"The file has no single column {problems[0].pointer[14:]}.", problems)
        self._width = len(header)
        id_place, truth_place, *time_place = [header.index(name) for name in wanted]
        self._places = id_place, truth_place, time_place[0] if time_place else None

    def _read_cells(self, cells: Sequence[str]) -> FileRow:
        place = f"row {self._row}"
        if len(cells) != self._width:
            return Problem(place, "row_ragged", f"The row has {len(cells)} cells, the header {self._width}.")
        assert self._places is not None
        id_place, truth_place, time_place = self._places
        truth = cells[truth_place]
        if not truth.strip():
            return None
        observed_at = cells[time_place] or None if time_place is not None else None
        return _row(place, self._query, (cells[id_place].strip(), truth, observed_at), text=truth)


def _row(place: str, query: FeedbackFileQuery, cells: tuple[object, object, object], text: str | None) -> FileRow:
    prediction_id, truth, observed_at = cells
    if not isinstance(prediction_id, str) or not ids.is_id(prediction_id, ids.PREDICTION):
        return Problem(f"{place}, column {query.id_column}", "prediction_id_invalid", "This is no id of a prediction.")
    if not is_truth(truth):
        return Problem(f"{place}, column {query.truth_column}", "truth_invalid", "This cannot be a truth.")
    moment = None
    if observed_at is not None:
        moment = _moment(observed_at)
        if moment is None:
            column = f"{place}, column {query.observed_at_column}"
            return Problem(column, "time_invalid", "A time is written as in 2026-01-31T12:00:00Z, with its zone.")
    return ToldTruth(f"{place}, column {query.truth_column}", prediction_id, truth, moment, text)  # type: ignore[arg-type]


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def reader_for(media_type: str, query: FeedbackFileQuery) -> CsvRows | NdjsonRows:
    """Raises Unsupported for a media type that is neither CSV nor NDJSON."""
    media_type = media_type.partition(";")[0].strip().lower()
    if media_type in CSV_TYPES:
        return CsvRows(query)
    if media_type in NDJSON_TYPES:
        return NdjsonRows(query)
    raise Unsupported("feedback_type_unsupported", "Feedback files are text/csv or application/x-ndjson.")


async def batches(
    chunks: AsyncIterable[bytes], rows: CsvRows | NdjsonRows, batch_rows: int = _BATCH_ROWS
) -> AsyncIterator[list[FileRow]]:
    """Rows in batches of at most ``batch_rows``, whatever the sizes of the chunks."""
    splitter, waiting = LineSplitter(), list[FileRow]()
    async for chunk in chunks:
        waiting += rows.read(splitter.feed(chunk))
        while len(waiting) >= batch_rows:
            yield waiting[:batch_rows]
            del waiting[:batch_rows]
    waiting += rows.read(splitter.feed(b"", final=True)) + rows.close()
    for start in range(0, len(waiting), batch_rows):
        yield waiting[start : start + batch_rows]
