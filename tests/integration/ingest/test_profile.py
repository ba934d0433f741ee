"""The figures of a profile are those that Polars and NumPy compute."""

import datetime as dt
import io

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
