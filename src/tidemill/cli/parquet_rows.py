"""Rows of Parquet files, for which the command line needs pyarrow, and nothing else does."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

from tidemill.kit.errors import Invalid, Unsupported
from tidemill.kit.moments import moment_of_ticks
from tidemill.reading.damage import decoding

Warn = Callable[[str], None]
NO_MOMENT = object()
"""A time that no calendar of ours has; it cannot be sent."""
_BATCH_ROWS = 5_000
_DAY_SECONDS = 86_400
_FLOAT_DIGITS = 15
_ROUNDED = "Values of the column {name} have more digits than are kept: decimals are rounded, times to microseconds."
_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


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


def read_batches(path: Path, names: Sequence[str], warn: Warn) -> Iterator[list[dict[str, Any]]]:
    """Rows in batches, only the columns ``names``. A moment outside the years 1 to 9999 is `NO_MOMENT`.

    ``warn`` is told once of each column whose values have more digits than are kept. Raises Invalid for a damaged file.
    """
    told: set[str] = set()
    with decoding("Parquet"), _open(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(names), use_threads=False):
            columns = []
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                values, is_rounded = _values(column)
                columns.append(values)
                if is_rounded and name not in told:
                    warn(_ROUNDED.format(name=name))
                    told.add(name)
            yield [dict(zip(batch.schema.names, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _values(column: Any) -> tuple[list[Any], bool]:
    """Values of Python, and whether digits are lost."""
    arrow = _optional("pyarrow")
    kind = column.type
    if arrow.types.is_date32(kind):
        return _moments(column.cast(arrow.int32()), (_DAY_SECONDS, 1), datetime.date)
    if arrow.types.is_date64(kind):
        return _moments(column.cast(arrow.int64()), (1, _TICKS["ms"]), datetime.date)
    if arrow.types.is_timestamp(kind):
        written = _as_it_is if kind.tz is not None else _without_zone
        return _moments(column.cast(arrow.int64()), (1, _TICKS[kind.unit]), written)
    if arrow.types.is_time(kind):  # as datasets write them
        return column.cast(arrow.string()).to_pylist(), False
    values: list[Any] = column.to_pylist()
    is_rounded = arrow.types.is_decimal(kind) and kind.scale > 0 and any(map(_has_more_digits, values))
    return values, is_rounded


def _has_more_digits(value: Decimal | None) -> bool:
    """Than a float surely keeps."""
    return value is not None and len(value.as_tuple().digits) > _FLOAT_DIGITS


def _moments(ticks: Any, scale: tuple[int, int], written: Callable[[datetime], date]) -> tuple[list[Any], bool]:
    """``scale``: seconds of a tick, as numerator and denominator."""
    seconds, per_second = scale
    found = [None if tick is None else moment_of_ticks(seconds * tick, per_second) for tick in ticks.to_pylist()]
    moments = [None if one is None else NO_MOMENT if one[0] is None else written(one[0]) for one in found]
    return moments, any(one is not None and one[1] for one in found)


def _as_it_is(moment: datetime) -> datetime:
    return moment


def _without_zone(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None)


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
