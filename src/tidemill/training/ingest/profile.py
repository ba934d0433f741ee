"""Figures of every column, by DuckDB over the Parquet parts, in bounded memory.

Counts, extremes, means and histograms are exact. Quantiles are exact up to `_EXACT_ROWS` rows, beyond that t-digest
estimates (Dunning and Ertl 2019) that keep within the extremes. In columns with very many distinct values beyond it,
their number is a HyperLogLog estimate (Flajolet and others 2007), and the most frequent ones come from a seeded sample.
What is approximate says so.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb

from tidemill.kit.errors import Unavailable
from tidemill.kit.reporter import Reporter
from tidemill.schemas.datasets import Column
from tidemill.training.ingest.memory import resident_bytes
from tidemill.training.ingest.model import Limits
from tidemill.training.ingest.normalise import Normalised
from tidemill.training.ingest.numbers import Measured, units_of

MOST_FREQUENT = 10
_EXACT_ROWS = 200_000
_COUNTABLE_DISTINCT = 50_000
_SAMPLE_ROWS = 100_000
_SEED = 20260101
_COLUMNS_AT_ONCE = 40
_BYTES_PER_COLUMN = 12 * 2**20
"""What reading a column of large row groups and its sketches take in one thread, about."""
_BYTES_PER_THREAD = 32 * 2**20
_VALUE_BYTES, _COPIES = 16, 4
_VALUE_CHARACTERS = 100
_WIDE_BYTES = 1000
_MEASURED = frozenset({"integer", "float", "date", "datetime"})


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
    def gathers(self) -> bool:
        """Whether the columns at hand are read once into a table of their own."""
        return self.exact and not self.wide

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """``query`` with ``{parts}`` for the table of all parts."""
        if self.gathers:
            return self.connection.execute(query.replace("{parts}", "gathered")).fetchall()
        return self.connection.execute(query.replace("{parts}", self.relation), self._bound).fetchall()

    def gather(self, columns: Sequence[Column]) -> None:
        """Read some columns of a small table once: with thousands of them, opening files is what takes long."""
        if self.gathers:
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
        for some in _portions(table, memory_bytes, threads):
            reporter.check()
            wide = frozenset(column.name for column in some if _is_wide(table, column))
            figures.update(_figures(replace(profiler, wide=wide), some))
            reporter.progress("profiling", len(figures), len(table.columns))
    return figures


def _portions(table: Normalised, memory_bytes: int, threads: int) -> Iterator[Sequence[Column]]:
    """Columns to look at in one query, as many as the memory allows; those of long texts one by one."""
    some: list[Column] = []
    taken_bytes = 0
    for column in table.columns:
        if _is_wide(table, column):
            continue
        own_bytes = _gathered_bytes(table, column) if table.row_count <= _EXACT_ROWS else _BYTES_PER_COLUMN * threads
        if some and (len(some) == _COLUMNS_AT_ONCE or taken_bytes + own_bytes > memory_bytes):
            yield some
            some, taken_bytes = [], 0
        some.append(column)
        taken_bytes += own_bytes
    if some:
        yield some
    yield from ([column] for column in table.columns if _is_wide(table, column))


def _is_wide(table: Normalised, column: Column) -> bool:
    return column.type == "string" and table.longest_bytes[column.name] > _WIDE_BYTES


def _gathered_bytes(table: Normalised, column: Column) -> int:
    """At most what a column of a small table takes, gathered and in order for its quantiles, with room to spare."""
    value_bytes = _VALUE_BYTES + (table.longest_bytes[column.name] if column.type == "string" else 0)
    return _COPIES * value_bytes * table.row_count


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
    aggregates = {column.name: _aggregates(column, profiler) for column in columns}
    values = _values_by_column(profiler, aggregates)
    found = {}
    measured = {}
    for column in columns:
        own = values[column.name]
        found[column.name] = _basic(profiler, column, own)
        if column.type in _MEASURED and own[0]:
            low, high = (units_of(end, column.type) for end in own[2:])
            measured[column.name] = Measured(_quoted(column.name), column.type, own[0], low, high, profiler.exact)
    _add_measures(profiler, measured, found)
    for some in _counted_together(profiler, columns):
        _add_most_frequent(profiler, some, found)
    return found


def _values_by_column(profiler: _Profiler, aggregates: Mapping[str, Sequence[str]]) -> dict[str, list[Any]]:
    expressions = [expression for own in aggregates.values() for expression in own]
    values = iter(profiler.rows(f"SELECT {', '.join(expressions)} FROM {{parts}}")[0])  # noqa: S608 - names are quoted
    return {name: list(islice(values, len(own))) for name, own in aggregates.items()}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _aggregates(column: Column, profiler: _Profiler) -> list[str]:
    name = _quoted(column.name)
    # Of small tables every value is counted below, so that their number need not be told before.
    distinct = f"count({name})" if profiler.exact else f"approx_count_distinct({name})"
    expressions = [f"count({name})", distinct]
    if column.type in _MEASURED:
        return [*expressions, f"min({name})", f"max({name})"]
    if column.type == "boolean":
        return [*expressions, f"avg({name}::INTEGER)"]
    return [*expressions, f"min(length({name}))", f"max(length({name}))"]


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
    if column.type in _MEASURED:
        figures |= {"min": _plain(values[2]), "max": _plain(values[3])}
        figures |= {"mean": None, "std": None, "quantiles": {}, "quantiles_approximate": not profiler.exact}
    elif column.type == "boolean":
        figures["true_share"] = values[2]
    else:
        figures |= {"min_length": values[2], "max_length": values[3]}
    return figures


def _add_measures(profiler: _Profiler, measured: dict[str, Measured], found: dict[str, Any]) -> None:
    """Mean, deviation, quantiles and histogram of columns that have any number, whose extremes are known by now."""
    if not measured:
        return
    values = _values_by_column(profiler, {name: one.aggregates() for name, one in measured.items()})
    bins = _bins(profiler, measured) if profiler.exact else {name: own.pop() for name, own in values.items()}
    for name, one in measured.items():
        total, spread, quantiles = values[name]
        found[name] |= one.figures(total, spread, quantiles, bins[name])


def _bins(profiler: _Profiler, measured: dict[str, Measured]) -> dict[str, dict[int, int]]:
    """Counts by bin of all columns in one grouping: of small tables, planning a histogram for each takes longest."""
    bins: dict[str, dict[int, int]] = {name: {} for name in measured}
    names = list(measured)
    rows = _stacked([one.bin_expression() for one in measured.values()])
    query = f"SELECT c, v, count(*) FROM ({rows}) WHERE v IS NOT NULL GROUP BY c, v"  # noqa: S608 - names are quoted
    for position, step, count in profiler.rows(query):
        bins[names[position]][step] = count
    return bins


def _stacked(expressions: Sequence[str]) -> str:
    """SQL: the values ``v`` of expressions of one type below one another, and which of these they are of (``c``)."""
    return f"SELECT unnest(range({len(expressions)})) AS c, unnest([{', '.join(expressions)}]) AS v FROM {{parts}}"  # noqa: S608 - names are quoted


def _counted_together(profiler: _Profiler, columns: Sequence[Column]) -> Iterator[Sequence[Column]]:
    """Columns of one type whose values are counted in one query, which has no more of them than one long column."""
    together = max(1, _EXACT_ROWS // max(1, profiler.row_count)) if profiler.gathers else 1
    for kind in sorted({column.type for column in columns}):
        alike = [column for column in columns if column.type == kind]
        yield from (alike[start : start + together] for start in range(0, len(alike), together))


def _add_most_frequent(profiler: _Profiler, columns: Sequence[Column], found: dict[str, Any]) -> None:
    """Of columns of one type; several only if none is sampled."""
    sampled = not profiler.exact and found[columns[0].name]["distinct"] > _COUNTABLE_DISTINCT
    seen = _most_frequent(profiler, columns, sampled)
    for position, column in enumerate(columns):
        values, counts, distinct = seen.get(position, ([], [], 0))
        figures = found[column.name]
        most_frequent = zip(values, counts, strict=True)
        figures["most_frequent"] = [{"value": _plain(value), "count": count} for value, count in most_frequent]
        if not sampled:  # every value was looked at, so that there is no need for an estimate
            figures |= {"distinct": distinct, "distinct_approximate": False}
        figures["most_frequent_sample_rows"] = min(_SAMPLE_ROWS, profiler.row_count) if sampled else None


def _most_frequent(
    profiler: _Profiler, columns: Sequence[Column], sampled: bool
) -> dict[int, tuple[list[Any], list[int], int]]:
    """By position of the column: its most frequent values, how often each is there, how many are distinct."""
    name, groups = _quoted(columns[0].name), "c, v"
    sample = f"USING SAMPLE reservoir({_SAMPLE_ROWS} ROWS) REPEATABLE ({_SEED})" if sampled else ""
    if columns[0].name in profiler.wide:
        # Only the beginning of a long text is shown, and only that much is held in memory.
        rows = f"SELECT left({name}, {_VALUE_CHARACTERS}) AS v, hash({name}) AS h FROM {{parts}}"  # noqa: S608 - names are quoted
        rows, groups = f"SELECT 0 AS c, v, h FROM ({rows}) {sample}", "c, v, h"  # noqa: S608 - as above
    elif len(columns) == 1:
        rows = f"SELECT 0 AS c, {name} AS v FROM {{parts}} {sample}"  # noqa: S608 - as above
    else:
        rows = _stacked([_quoted(column.name) for column in columns])
    counted = (
        f"SELECT c, v, count(*) AS n, {{'n': -n, 'v': v}} AS place FROM ({rows}) WHERE v IS NOT NULL GROUP BY {groups}"  # noqa: S608 - as above
    )
    first = ", ".join(f"arg_min({name}, place, {MOST_FREQUENT})" for name in ("v", "n"))
    query = f"SELECT c, {first}, count(*) FROM ({counted}) GROUP BY c"  # noqa: S608 - as above
    return {position: (values, counts, distinct) for position, values, counts, distinct in profiler.rows(query)}


def _plain(value: Any) -> Any:
    if isinstance(value, (dt.date, dt.datetime)):
        return value.isoformat()
    return value[:_VALUE_CHARACTERS] if isinstance(value, str) else value
