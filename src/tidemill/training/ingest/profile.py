"""Figures of every column, by DuckDB over the Parquet parts, in bounded memory.

Counts, extremes, means and histograms are exact. Quantiles are exact up to `_EXACT_ROWS` rows, beyond that t-digest
estimates (Dunning and Ertl 2019). In columns with very many distinct values beyond it, their number is a HyperLogLog
estimate (Flajolet and others 2007), and the most frequent ones come from a seeded sample. What is approximate says so.
"""

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb

from tidemill.kit.errors import Unavailable
from tidemill.kit.reporter import Reporter
from tidemill.schemas.datasets import Column
from tidemill.training.ingest.memory import resident_bytes
from tidemill.training.ingest.model import Limits
from tidemill.training.ingest.normalise import Normalised

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
HISTOGRAM_BINS = 20
MOST_FREQUENT = 10
_EXACT_ROWS = 200_000
_COUNTABLE_DISTINCT = 50_000
_SAMPLE_ROWS = 100_000
_SEED = 20260101
_COLUMNS_AT_ONCE = 40
_BYTES_PER_COLUMN = 12 * 2**20
"""What reading a column of large row groups and its sketches take in one thread, about."""
_BYTES_PER_THREAD = 32 * 2**20
_VALUE_CHARACTERS = 100
_WIDE_BYTES = 1000


@dataclass(frozen=True)
class _Profiler:
    """wide: columns of long texts. They are read from the files each time, and told apart by a hash of 64 bits."""

    connection: duckdb.DuckDBPyConnection
    paths: Sequence[str]
    row_count: int
    wide: frozenset[str] = frozenset()
    relation: str = "read_parquet($parts)"

    @property
    def exact(self) -> bool:
        return self.row_count <= _EXACT_ROWS

    @property
    def _gathers(self) -> bool:
        return self.exact and not self.wide

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """``query`` with ``{parts}`` for the table of all parts."""
        if self._gathers:
            return self.connection.execute(query.replace("{parts}", "gathered")).fetchall()
        return self.connection.execute(query.replace("{parts}", self.relation), self._bound).fetchall()

    def gather(self, columns: Sequence[Column]) -> None:
        """Read some columns of a small table once: with thousands of them, opening files is what takes long."""
        if self._gathers:
            names = ", ".join(_quoted(column.name) for column in columns)
            query = f"CREATE OR REPLACE TEMP TABLE gathered AS SELECT {names} FROM {self.relation}"  # noqa: S608 - names are quoted
            self.connection.execute(query, self._bound)

    @property
    def _bound(self) -> dict[str, list[str]]:
        return {"parts": list(self.paths)}


def profile_parts(table: Normalised, limits: Limits, reporter: Reporter) -> dict[str, Any]:
    """``{"row_count", "columns": {name: figures}}``."""
    names = [column.name for column in table.columns]
    table, relation = _told_apart(table)
    figures = _figures_of_all(table, relation, limits, reporter)
    found = (figures[column.name] for column in table.columns)
    return {"row_count": table.row_count, "columns": dict(zip(names, found, strict=True))}


def _told_apart(table: Normalised) -> tuple[Normalised, str]:
    """To DuckDB, names that differ in case alone are the same; such tables get other names while it looks at them."""
    names = [column.name for column in table.columns]
    if len({name.casefold() for name in names}) == len(names):
        return table, _Profiler.relation
    aliases = [f"column {position}" for position in range(len(names))]
    columns = [column.model_copy(update={"name": alias}) for column, alias in zip(table.columns, aliases, strict=True)]
    longest = {alias: table.longest_bytes[name] for alias, name in zip(aliases, names, strict=True)}
    relation = f"(SELECT * FROM {_Profiler.relation}) AS parts({', '.join(map(_quoted, aliases))})"  # noqa: S608 - as above
    return replace(table, columns=columns, longest_bytes=longest), relation


def _figures_of_all(table: Normalised, relation: str, limits: Limits, reporter: Reporter) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    memory_bytes = limits.profile_bytes(resident_bytes())
    threads = min(limits.threads, max(1, memory_bytes // _BYTES_PER_THREAD))
    with _connected(memory_bytes, threads, reporter.scratch) as connection:
        profiler = _Profiler(connection, [str(path) for path in table.parts], table.row_count, relation=relation)
        for some in _portions(table, _columns_together(profiler, memory_bytes // threads)):
            reporter.check()
            wide = frozenset(column.name for column in some if _is_wide(table, column))
            figures.update(_figures(replace(profiler, wide=wide), some))
            reporter.progress("profiling", len(figures), len(table.columns))
    return figures


def _portions(table: Normalised, together: int) -> Iterator[Sequence[Column]]:
    """Columns to look at in one query; those of long texts one by one."""
    narrow = [column for column in table.columns if not _is_wide(table, column)]
    for start in range(0, len(narrow), together):
        yield narrow[start : start + together]
    yield from ([column] for column in table.columns if _is_wide(table, column))


def _is_wide(table: Normalised, column: Column) -> bool:
    return column.type == "string" and table.longest_bytes[column.name] > _WIDE_BYTES


def _columns_together(profiler: _Profiler, thread_bytes: int) -> int:
    """Small tables are gathered, so that many columns fit; of large ones as many as the memory allows."""
    if profiler.exact:
        return _COLUMNS_AT_ONCE
    return max(1, min(_COLUMNS_AT_ONCE, thread_bytes // _BYTES_PER_COLUMN))


@contextmanager
def _connected(memory_bytes: int, threads: int, scratch: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": threads,
        "memory_limit": f"{memory_bytes // 2**20}MiB",
        "temp_directory": str(scratch / "duckdb"),
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    connection = duckdb.connect(config=settings)
    try:
        connection.execute("SET parquet_metadata_cache = true; SET enable_progress_bar = false")
        yield connection
    except duckdb.IOException as error:
        if "No space left" in str(error):
            raise Unavailable("disk_full", "The worker's disk is full.") from error
        raise
    finally:
        connection.close()


def _figures(profiler: _Profiler, columns: Sequence[Column]) -> dict[str, Any]:
    """Of some columns at once, since every query opens the files anew."""
    profiler.gather(columns)
    aggregates = [expression for column in columns for expression in _aggregates(column, profiler)]
    values = list(profiler.rows(f"SELECT {', '.join(aggregates)} FROM {{parts}}")[0])  # noqa: S608 - names are quoted
    found = {}
    for column in columns:
        count = len(_aggregates(column, profiler))
        own, values = values[:count], values[count:]
        found[column.name] = _basic(profiler, column, own)
    _add_histograms(profiler, columns, found)
    for column in columns:
        _add_most_frequent(profiler, column, found[column.name])
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _numeric(column: Column) -> str | None:
    """An expression of the column as a number: times count seconds since 1970. None for text and booleans."""
    name = _quoted(column.name)
    if column.type in ("integer", "float"):
        return f"{name}::DOUBLE"
    return f"epoch({name})::DOUBLE" if column.type in ("date", "datetime") else None


def _aggregates(column: Column, profiler: _Profiler) -> list[str]:
    name, exact = _quoted(column.name), profiler.exact
    identity = f"hash({name})" if column.name in profiler.wide else name
    distinct = f"count(DISTINCT {identity})" if exact else f"approx_count_distinct({name})"
    expressions = [f"count({name})", distinct]
    if (number := _numeric(column)) is not None:
        quantiles = f"[{', '.join(map(str, QUANTILES))}]"
        function = "quantile_cont" if exact else "approx_quantile"
        expressions += [f"min({name})", f"max({name})", f"avg({number})", f"stddev_samp({number})",
                        f"{function}({number}, {quantiles})"]  # fmt: skip
    elif column.type == "boolean":
        expressions += [f"avg({name}::INTEGER)"]
    else:
        expressions += [f"min(length({name}))", f"max(length({name}))"]
    return expressions


def _basic(profiler: _Profiler, column: Column, values: list[Any]) -> dict[str, Any]:
    present, distinct = values[:2]
    missing = profiler.row_count - present
    figures: dict[str, Any] = {
        "type": column.type,
        "missing": missing,
        "missing_share": missing / profiler.row_count if profiler.row_count else 0.0,
        "distinct": min(distinct, present),
        "distinct_approximate": not profiler.exact,
    }
    if _numeric(column) is not None:
        least, greatest, mean, deviation, quantiles = values[2:]
        figures |= {
            "min": _plain(least),
            "max": _plain(greatest),
            "mean": _moment(mean, column) if mean is not None else None,
            "std": _finite(deviation),
            "quantiles": {str(q): _moment(v, column) for q, v in zip(QUANTILES, quantiles or (), strict=False)},
            "quantiles_approximate": not profiler.exact,
        }
    elif column.type == "boolean":
        figures["true_share"] = values[2]
    else:
        figures |= {"min_length": values[2], "max_length": values[3]}
    return figures


def _add_histograms(profiler: _Profiler, columns: Sequence[Column], found: dict[str, Any]) -> None:
    """Bins of equal width; a number on an edge counts to the bin above, the greatest to the last one."""
    wanted: list[tuple[Column, float, float]] = []
    for column in columns:
        figures = found[column.name]
        if _numeric(column) is not None and figures["min"] is not None:
            wanted.append((column, *_range(column, figures)))
    if not wanted:
        return
    expressions = [_histogram_expression(*item) for item in wanted]
    counts = profiler.rows(f"SELECT {', '.join(expressions)} FROM {{parts}}")[0]  # noqa: S608 - names are quoted
    for (column, low, high), bins in zip(wanted, counts, strict=True):
        edges = [*(low + (high - low) * step / HISTOGRAM_BINS for step in range(HISTOGRAM_BINS)), high]
        found[column.name]["histogram"] = {
            "edges": [_moment(edge, column) for edge in (edges if high > low else [low, high])],
            "counts": [bins.get(step, 0) for step in range(HISTOGRAM_BINS if high > low else 1)],
        }


def _range(column: Column, figures: dict[str, Any]) -> tuple[float, float]:
    if column.type in ("integer", "float"):
        return float(figures["min"]), float(figures["max"])
    return _seconds(figures["min"]), _seconds(figures["max"])


def _histogram_expression(column: Column, low: float, high: float) -> str:
    """A map from bin to count."""
    number = _numeric(column)
    width = (high - low) / HISTOGRAM_BINS
    if not 0 < width < math.inf:
        return f"histogram(0::TINYINT) FILTER (WHERE {number} IS NOT NULL)"
    position = f"floor(({number} - {low!r}::DOUBLE) / {width!r}::DOUBLE)"
    return (
        f"histogram(greatest(0, least({HISTOGRAM_BINS - 1}, {position}))::TINYINT) FILTER (WHERE {number} IS NOT NULL)"
    )


def _add_most_frequent(profiler: _Profiler, column: Column, figures: dict[str, Any]) -> None:
    name = _quoted(column.name)
    sampled = not profiler.exact and figures["distinct"] > _COUNTABLE_DISTINCT
    sample = f"USING SAMPLE reservoir({_SAMPLE_ROWS} ROWS) REPEATABLE ({_SEED})" if sampled else ""
    if column.name in profiler.wide:
        # Only the beginning of a long text is shown, and only that much is held in memory.
        value, rows = "v", f"SELECT left({name}, {_VALUE_CHARACTERS}) AS v, hash({name}) AS h FROM {{parts}}"  # noqa: S608 - names are quoted
        rows, groups = f"SELECT v, h FROM ({rows}) {sample}", "v, h"  # noqa: S608 - as above
    else:
        value, rows, groups = name, f"SELECT {name} FROM {{parts}} {sample}", "1"  # noqa: S608 - as above
    query = (
        f"SELECT {value}, count(*) AS n, count(*) OVER () FROM ({rows}) WHERE {value} IS NOT NULL GROUP BY {groups} "  # noqa: S608 - as above
        f"ORDER BY n DESC, 1 LIMIT {MOST_FREQUENT}"
    )
    seen = profiler.rows(query)
    figures["most_frequent"] = [{"value": _plain(value), "count": count} for value, count, _ in seen]
    if not sampled:  # every value was looked at, so that there is no need for an estimate
        figures |= {"distinct": seen[0][2] if seen else 0, "distinct_approximate": False}
    figures["most_frequent_sample_rows"] = min(_SAMPLE_ROWS, profiler.row_count) if sampled else None


def _plain(value: Any) -> Any:
    if isinstance(value, (dt.date, dt.datetime)):
        return value.isoformat()
    return value[:_VALUE_CHARACTERS] if isinstance(value, str) else value


def _moment(value: float, column: Column) -> Any:
    """Seconds since 1970 as a date or time; other numbers as they are."""
    if column.type not in ("date", "datetime"):
        return _finite(value)
    try:
        moment = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=value)  # noqa: DTZ001 - zones are gone already
    except OverflowError:  # a float is less exact than the last microseconds of the year 9999
        moment = dt.datetime.max  # noqa: DTZ901 - as above
    return moment.date().isoformat() if column.type == "date" else moment.isoformat()


def _seconds(text: str) -> float:
    return (dt.datetime.fromisoformat(text) - dt.datetime(1970, 1, 1)).total_seconds()  # noqa: DTZ001 - as above


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
