"""Rows of Parquet files, for which the command line needs pyarrow, and nothing else does."""

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tidemill.kit.errors import Invalid, Unsupported
from tidemill.reading.damage import decoding

_BATCH_ROWS = 5_000


def count_rows(path: Path) -> int:
    """Raises Invalid for what is no Parquet file, Unsupported without pyarrow."""
    with decoding("Parquet"):
        return int(_open(path).metadata.num_rows)


def names_in(path: Path) -> list[str]:
    """The columns. Raises Invalid for two of the same name, and for what is no Parquet file."""
    with decoding("Parquet"):
        names: list[str] = _open(path).schema_arrow.names
    if len(set(names)) != len(names):
        raise Invalid("column_name_duplicate", "Two columns of the file have the same name.")
    return names


def read_batches(path: Path, names: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    """Rows in batches, only the columns ``names``. Raises Invalid for a damaged file."""
    with decoding("Parquet"), _open(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(names), use_threads=False):
            columns = [_values(column) for column in batch.columns]
            yield [dict(zip(batch.schema.names, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _values(column: Any) -> list[Any]:
    """Times of nanoseconds as microseconds, which is what Python knows; further digits are cut off."""
    arrow = _optional("pyarrow")
    if arrow.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(arrow.timestamp("us", column.type.tz), safe=False)
    values: list[Any] = column.to_pylist()
    return values


def _open(path: Path) -> Any:
    parquet = _optional("pyarrow.parquet")
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Invalid("file_not_parquet", f"{path.name} is not a Parquet file.") from None


def _optional(module: str) -> ModuleType:
    """An import that the command line does without until a Parquet file comes along."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise Unsupported("pyarrow_missing", "Parquet files need pyarrow: pip install pyarrow.") from None
