"""Opens a file of feedback as a stream of CSV or NDJSON bytes."""

import contextlib
import gzip
import importlib
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from tidemill.kit.errors import Invalid, NotFound, Unsupported

_CHUNK_BYTES = 256 * 1024
_BATCH_ROWS = 5_000
_MEDIA_TYPES = {
    ".csv": "text/csv",
    ".tsv": "text/csv",
    ".txt": "text/csv",
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
    ".parquet": "application/x-ndjson",
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
    return int(_open_parquet(file).metadata.num_rows) if _suffix(file) == ".parquet" else file.stat().st_size


def read_file(file: Path, columns: list[str], on_done: OnDone) -> Iterator[bytes]:
    """The file in pieces; of Parquet only ``columns``, a line of JSON for each row."""
    return _read_parquet(file, columns, on_done) if _suffix(file) == ".parquet" else _read_bytes(file, on_done)


def _suffix(file: Path) -> str:
    return Path(file.name.lower().removesuffix(".gz")).suffix


def _read_bytes(file: Path, on_done: OnDone) -> Iterator[bytes]:
    with contextlib.ExitStack() as stack:
        stream = raw = stack.enter_context(file.open("rb"))
        if file.name.lower().endswith(".gz"):
            stream = stack.enter_context(gzip.open(raw))  # type: ignore[arg-type]
        try:
            while chunk := stream.read(_CHUNK_BYTES):
                on_done(raw.tell())
                yield chunk
        except (gzip.BadGzipFile, EOFError, zlib.error):
            raise Invalid("file_not_gzip", f"{file.name} is not a whole gzip file.") from None


def _read_parquet(file: Path, columns: list[str], on_done: OnDone) -> Iterator[bytes]:
    parquet = _open_parquet(file)
    missing = [name for name in columns if name not in parquet.schema_arrow.names]
    if missing:
        raise Invalid("column_missing", f"The file has no column {missing[0]}.")
    done = 0
    for batch in parquet.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
        rows = batch.to_pylist()
        done += len(rows)
        on_done(done)
        yield "".join(json.dumps(row, default=_plain) + "\n" for row in rows).encode()


def _plain(value: Any) -> Any:
    """Times as RFC 3339; decimals and the like as text, which the api judges."""
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _open_parquet(file: Path) -> Any:
    arrow, parquet = _optional("pyarrow"), _optional("pyarrow.parquet")
    try:
        return parquet.ParquetFile(file)
    except arrow.ArrowInvalid:
        raise Invalid("file_not_parquet", f"{file.name} is not a Parquet file.") from None


def _optional(module: str) -> ModuleType:
    """An import that the command line does without until a Parquet file comes along."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise Unsupported("pyarrow_missing", "Parquet files need pyarrow: pip install pyarrow.") from None
