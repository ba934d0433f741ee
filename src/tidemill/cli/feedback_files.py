"""Opens a file of feedback as a stream of CSV or NDJSON bytes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from tidemill.cli.json_values import NO_JSON, json_value
from tidemill.cli.parquet_rows import Warn, count_rows, names_in, read_batches
from tidemill.kit.errors import Invalid, NotFound, Problem, Unsupported

_CHUNK_BYTES = 256 * 1024
_PARQUET = frozenset({".parquet", ".pq"})
_PACKED = (".gz", ".zst")
_MEDIA_TYPES = {
    ".csv": "text/csv",
    ".tsv": "text/csv",
    ".txt": "text/csv",
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
    ".parquet": "application/x-ndjson",
    ".pq": "application/x-ndjson",
}
OnDone = Callable[[int], None]
"""Told how much of the file is read, in the unit of `size_of`."""


def media_type_of(file: Path) -> str:
    """What the stream of `read_file` is. Raises Unsupported for an ending we do not read."""
    suffix = _suffix(file)
    if suffix not in _MEDIA_TYPES:
        raise Unsupported(
            "feedback_type_unsupported", f"Feedback files end in one of {', '.join(sorted(_MEDIA_TYPES))}."
        )
    return _MEDIA_TYPES[suffix]


def size_of(file: Path) -> int:
    """Bytes, or rows of a Parquet file. Raises NotFound, or Invalid for a folder."""
    if not file.exists():
        raise NotFound("file_not_found", f"There is no file {file}.")
    if file.is_dir():
        raise Invalid("file_is_folder", f"{file} is a folder.")
    return count_rows(file) if _suffix(file) in _PARQUET else file.stat().st_size


def read_file(file: Path, columns: list[str], on_done: OnDone, warn: Warn) -> Iterator[bytes]:
    """The file in pieces, packed as it is; of Parquet only ``columns``, a line of JSON for each row.

    ``warn`` is told of values that lose digits.
    """
    return _read_parquet(file, columns, on_done, warn) if _suffix(file) in _PARQUET else _read_bytes(file, on_done)


def _suffix(file: Path) -> str:
    name = file.name.lower()
    return Path(next((name.removesuffix(end) for end in _PACKED if name.endswith(end)), name)).suffix


def _read_bytes(file: Path, on_done: OnDone) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            on_done(stream.tell())
            yield chunk


def _read_parquet(file: Path, columns: list[str], on_done: OnDone, warn: Warn) -> Iterator[bytes]:
    known = names_in(file)
    missing = [name for name in columns if name not in known]
    if missing:
        raise Invalid("column_missing", f"The file has no column {missing[0]}.")
    done = 0
    for rows in read_batches(file, columns, warn):
        yield "".join(_line(row, done + number) for number, row in enumerate(rows, start=1)).encode()
        done += len(rows)
        on_done(done)


def _line(row: dict[str, object], number: int) -> str:
    values = {name: json_value(value) for name, value in row.items()}
    wrong = [name for name, value in values.items() if value is NO_JSON]
    if wrong:
        problem = Problem(f"row {number}, column {wrong[0]}", "value_unsupported", "The value is none of a truth.")
        raise Invalid("value_unsupported", f"Row {number} holds a value that cannot be sent.", [problem])
    return json.dumps(values) + "\n"
