"""The function that a job's child runs."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa

from tidemill.kit.errors import Invalid, Unsupported
from tidemill.kit.hashing import sha256_of_file
from tidemill.kit.reporter import Reporter
from tidemill.reading.detect import Head, detect_binary_format, detect_text_format
from tidemill.reading.text import PlainText, decompress, make_plain
from tidemill.schemas.datasets import FileFormat, IngestOptions
from tidemill.training.ingest.arrow_source import ArrowSource, ParquetSource
from tidemill.training.ingest.csv_source import CsvSource
from tidemill.training.ingest.excel_source import ExcelSource
from tidemill.training.ingest.json_source import JsonSource, NdjsonSource
from tidemill.training.ingest.memory import give_back, resident_bytes, use_returning_memory
from tidemill.training.ingest.model import IngestRequest, Limits, Source
from tidemill.training.ingest.normalise import Normalised, normalise_table
from tidemill.training.ingest.passes import PassRunner
from tidemill.training.ingest.profile import profile_parts
from tidemill.training.ingest.unused_options import unused_options

_TEXT_FORMATS = (FileFormat.CSV, FileFormat.JSON, FileFormat.NDJSON)


def normalise(request: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    """Turn a raw file into Parquet parts, a schema and a profile.

    ``request`` is an `IngestRequest`. The result holds ``columns``, ``row_count``, ``parts`` (``path``, ``sha256``,
    ``size_bytes``, ``row_count``), ``profile``, ``source`` and ``warnings``. Text rows are numbered by the line they
    begin on, spreadsheet rows as the spreadsheet does, others from 1. Raises Invalid, TooLarge, Unsupported.
    """
    order = IngestRequest.model_validate(request)
    limits = Limits(reporter.memory_limit_bytes, reporter.cpu_threads, resident_bytes())
    _bound_arrow(limits)
    source = open_source(order, limits, reporter.scratch)
    unused = unused_options(order.options, source.describe()["format"])
    runner = PassRunner(
        source, _options_for(source, order.options), limits, order.output, lambda share: _report(reporter, share)
    )
    table = normalise_table(runner, order.contract)
    give_back()
    reporter.progress("profiling", 0, len(table.columns))
    profile = profile_parts(table, limits, reporter)
    result = _result(table, profile, source)
    return result | {"warnings": [*unused, *result["warnings"]]}


def _options_for(source: Source, options: IngestOptions) -> IngestOptions:
    """The decimal mark is one of delimited text; JSON and Excel have a point, whatever people write."""
    return options if isinstance(source, CsvSource) else options.model_copy(update={"decimal": "."})


def _bound_arrow(limits: Limits) -> None:
    pa.set_cpu_count(limits.threads)
    pa.set_io_thread_count(1)
    use_returning_memory(limits.free_bytes)


def _report(reporter: Reporter, share: float) -> None:
    reporter.check()
    reporter.progress("reading", round(100 * share, 1), 100)


def open_source(order: IngestRequest, limits: Limits, scratch: Path) -> Source:
    """A reader for what the file is by its content. Raises Invalid for an empty, Unsupported for a foreign file."""
    if order.source.stat().st_size == 0:
        raise Invalid("file_empty", "The file is empty.")
    path, compression = decompress(order.source, scratch, order.decoded_limit_bytes)
    declared = order.options.format
    found = detect_binary_format(path, Head.of(path)) if _may_be_binary(order.options) else None
    if declared is not None and (found or declared) != declared and declared not in _TEXT_FORMATS:
        raise Unsupported("format_mismatch", f"The file is {found}, not {declared} as declared.")
    if found is None and declared in (FileFormat.PARQUET, FileFormat.ARROW, FileFormat.EXCEL):
        raise Unsupported("format_mismatch", f"The file is text, not {declared} as declared.")
    if found is FileFormat.PARQUET:
        return ParquetSource(path, limits)
    if found is FileFormat.ARROW:
        return ArrowSource(path, limits)
    if found is FileFormat.EXCEL:
        return ExcelSource(path, order.options, limits, order.decoded_limit_bytes)
    return _open_text(make_plain(path, compression, scratch, order.options.encoding), order.options, limits)


def _may_be_binary(options: IngestOptions) -> bool:
    """A declared encoding such as utf-16 explains bytes that look binary."""
    return options.encoding is None or options.format is None


def _open_text(text: PlainText, options: IngestOptions, limits: Limits) -> Source:
    with text.path.open(encoding="utf-8", errors="replace") as stream:
        beginning = stream.read(4096)
    form = options.format or detect_text_format(beginning)
    if form is FileFormat.JSON:
        return JsonSource(text, limits)
    if form is FileFormat.NDJSON:
        return NdjsonSource(text, limits)
    return CsvSource(text, options, limits)


def _result(table: Normalised, profile: dict[str, Any], source: Source) -> dict[str, Any]:
    parts = [
        {
            "path": str(path),
            "sha256": sha256_of_file(path),
            "size_bytes": os.stat(path).st_size,  # noqa: PTH116
            "row_count": pa.parquet.read_metadata(path).num_rows,
        }
        for path in table.parts
    ]
    return {
        "columns": [column.model_dump() for column in table.columns],
        "row_count": table.row_count,
        "parts": parts,
        "profile": profile,
        "source": source.describe(),
        "warnings": [*source.warnings, *table.warnings],
    }
