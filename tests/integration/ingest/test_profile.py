"""The figures of a profile are those that Polars and NumPy compute."""

import datetime as dt
import io
from collections import Counter

import duckdb
import numpy as np
import polars as pl
import pytest

from tests.integration.ingest.ingesting import Ingest


def _frame(rows: int) -> pl.DataFrame:
    random = np.random.default_rng(5)
    days = [dt.date(2000, 1, 1) + dt.timedelta(days=int(day)) for day in random.integers(0, 900, rows)]
    missing = pl.Series(random.random(rows) < 0.1)
    return pl.DataFrame(
        {
            "number": random.normal(0, 1e3, rows),
            "whole": random.integers(-50, 50, rows),
            "word": [f"w{word}" for word in random.zipf(1.5, rows) % 500],
            "flag": random.random(rows) < 0.3,
            "day": days,
        }
    ).with_columns(pl.when(missing).then(None).otherwise(pl.col("number")).alias("number"))


def test_the_profile_of_a_small_table_is_exact(ingest: Ingest) -> None:
    frame, out = _frame(997), io.BytesIO()
    frame.write_parquet(out)
    figures = ingest(out.getvalue())["profile"]["columns"]
    for name, found in figures.items():
        values = frame[name].drop_nulls()
        assert (found["missing"], found["distinct"]) == (frame[name].null_count(), values.n_unique())
        top = values.value_counts(sort=True)["count"].head(10).to_list()
        assert [item["count"] for item in found["most_frequent"]] == top
    for name in ("number", "whole"):
        found, values = figures[name], frame[name].drop_nulls().cast(pl.Float64)
        assert (found["min"], found["max"]) == (values.min(), values.max())
        assert (found["mean"], found["std"]) == (pytest.approx(values.mean()), pytest.approx(values.std()))
        for share, quantile in found["quantiles"].items():
            assert quantile == pytest.approx(values.quantile(float(share), "linear"))
        counts, _ = np.histogram(values.to_numpy(), bins=np.array(found["histogram"]["edges"]))
        assert found["histogram"]["counts"] == counts.tolist()
    assert figures["flag"]["true_share"] == pytest.approx(frame["flag"].mean())
    assert sum(figures["day"]["histogram"]["counts"]) == 997


def test_few_distinct_values_are_counted_exactly_in_a_large_table(ingest: Ingest) -> None:
    frame, out = _frame(200_001), io.BytesIO()
    frame.write_parquet(out)
    figures = ingest(out.getvalue())["profile"]["columns"]
    for name in ("whole", "word", "day"):
        assert (figures[name]["distinct"], figures[name]["distinct_approximate"]) == (frame[name].n_unique(), False)
    number = figures["number"]
    assert (number["distinct_approximate"], number["quantiles_approximate"]) == (True, True)
    assert number["quantiles"]["0.5"] == pytest.approx(frame["number"].median(), abs=20)


def _alike(rows: int, columns: int) -> pl.DataFrame:
    """Columns of the same types with numbers, missing values and ties of their own; every fifth holds nothing."""
    random = np.random.default_rng(7)
    return pl.DataFrame(
        {
            f"{kind} {index}": pl.Series(
                [make(number) if number % 9 and index % 5 else None for number in random.integers(0, 40 + index, rows)],
                dtype=dtype,
            )
            for kind, dtype, make in (
                ("whole", pl.Int64, lambda number: int(number) - 20),
                ("number", pl.Float64, lambda number: float(number) ** 1.5),
                ("word", pl.String, lambda number: f"w{number}"),
                ("day", pl.Date, lambda number: dt.date(2000, 1, 1) + dt.timedelta(days=int(number))),
            )
            for index in range(columns)
        }
    )


def test_columns_that_are_counted_together_keep_their_own_figures(ingest: Ingest) -> None:
    frame, out = _alike(83, 30), io.BytesIO()
    frame.write_parquet(out)
    figures = ingest(out.getvalue())["profile"]["columns"]
    for name, found in figures.items():
        values = frame[name].drop_nulls()
        counts = Counter(value.isoformat() if isinstance(value, dt.date) else value for value in values.to_list())
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:10]
        assert [(item["value"], item["count"]) for item in found["most_frequent"]] == ordered
        assert (found["missing"], found["distinct"]) == (frame[name].null_count(), len(counts))
        if values.len() and values.dtype.is_numeric():
            steps, _ = np.histogram(values.to_numpy(), bins=np.array(found["histogram"]["edges"]))
            assert found["histogram"]["counts"] == steps.tolist()


def test_hundreds_of_columns_are_profiled_in_few_queries(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    queries: list[str] = []
    connect = duckdb.connect

    class Counting:
        def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
            self._connection = connection
            self.close = connection.close

        def execute(self, query: str, *bound: object) -> duckdb.DuckDBPyConnection:
            queries.append(query)
            return self._connection.execute(query, *bound)

    monkeypatch.setattr(duckdb, "connect", lambda **options: Counting(connect(**options)))
    lines = [",".join(str(column * row % 7) for column in range(200)) for row in range(20)]
    ingest("\n".join([",".join(f"c{column}" for column in range(200)), *lines]))
    assert len(queries) < 200 / 5


def test_small_tables_of_many_columns_are_profiled_in_the_least_memory(ingest: Ingest) -> None:
    random, out = np.random.default_rng(3), io.BytesIO()
    pl.DataFrame({f"c{column}": random.random(100_000) for column in range(40)}).write_parquet(out)
    ingest.free_bytes = 130 * 2**20
    figures = ingest(out.getvalue())["profile"]["columns"]
    assert [one["distinct"] for one in figures.values()] == [100_000] * 40
