"""Whole numbers beyond 2**53, floats at the ends of their range and far moments keep their figures in order."""

import datetime as dt
import io
import itertools
import math
import statistics
from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.ingest.ingesting import Ingest
from tidemill.kit.errors import Invalid

LOW, HIGH, WHOLE = -(2**63), 2**63 - 1, 2**53
ROWS = 41
INTEGERS: dict[str, list[int]] = {
    "extremes": [LOW, HIGH, *[0] * (ROWS - 2)],
    "greatest": [HIGH - n for n in range(ROWS)],
    "least": [LOW + n for n in range(ROWS)],
    "one value": [HIGH] * ROWS,
    "above 2**53": [WHOLE + 1 + n % 3 for n in range(ROWS)],
    "identifiers": [1_152_921_504_606_846_976 + n * n for n in range(ROWS)],
    "small": [n % 7 for n in range(ROWS)],
    "two": [WHOLE + 1] * 20 + [WHOLE + 2] * 21,
    **{
        f"random {seed}": [int(n) for n in np.random.default_rng(seed).integers(LOW, HIGH, ROWS, endpoint=True)]
        for seed in range(5)
    },
    **{
        f"near {seed}": [int(n) + HIGH - 100 for n in np.random.default_rng(seed).integers(0, 100, ROWS)]
        for seed in range(5)
    },
}
FLOATS: dict[str, list[float]] = {
    "whole range": [-1.7976931348623157e308, 1.7976931348623157e308, *[0.0] * (ROWS - 2)],
    "great": [1e308 + n * 1e300 for n in range(ROWS)],
    "denormal": [n * 5e-324 for n in range(ROWS)],
    "tenths": [0.1] * ROWS,
}
MICROSECOND = dt.timedelta(microseconds=1)
FIRST, LAST = dt.datetime(1, 1, 1, 0, 0, 0, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999)  # noqa: DTZ001 - as files
TIMES: dict[str, list[Any]] = {
    "last moments": [LAST - n * MICROSECOND for n in range(ROWS)],
    "all moments": [FIRST, LAST, *[LAST - MICROSECOND] * (ROWS - 2)],
    "all days": [dt.date(1, 1, 1), dt.date(9999, 12, 31), *[dt.date(9999, 12, 30)] * (ROWS - 2)],
}


def parquet(columns: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def between(figures: dict[str, Any]) -> None:
    edges = figures["histogram"]["edges"]
    for row in ([figures["min"], *figures["quantiles"].values(), figures["max"]], edges):
        assert all(low <= high for low, high in itertools.pairwise(row)), row
    assert figures["min"] <= figures["mean"] <= figures["max"]
    assert (edges[0], edges[-1]) == (figures["min"], figures["max"])


def test_figures_of_whole_numbers_are_exact_up_to_64_bits(ingest: Ingest) -> None:
    figures = ingest(parquet(INTEGERS))["profile"]["columns"]
    for name, values in INTEGERS.items():
        found, ordered = figures[name], sorted(values)
        between(found)
        assert (found["min"], found["quantiles"]["0.5"], found["max"]) == (ordered[0], ordered[20], ordered[-1])
        assert abs(Fraction(found["mean"]) - Fraction(sum(values), ROWS)) <= Fraction(1, 2)
        assert found["std"] == pytest.approx(math.sqrt(statistics.variance(map(Fraction, values))))
        edges, counts = found["histogram"]["edges"], found["histogram"]["counts"]
        inside = [sum(low <= value < high for value in values) for low, high in itertools.pairwise(edges)]
        inside[-1] += 0 if len(counts) == 1 else values.count(ordered[-1])
        assert counts == ([ROWS] if len(counts) == 1 else inside)
        assert found["most_frequent"][0]["value"] in values


def test_floats_at_the_ends_of_their_range_and_far_moments_stay_between_their_extremes(ingest: Ingest) -> None:
    figures = ingest(parquet(FLOATS | TIMES))["profile"]["columns"]
    for name, values in (FLOATS | TIMES).items():
        between(figures[name])
        assert figures[name]["std"] is not None
        assert sum(figures[name]["histogram"]["counts"]) == len(values)
    assert figures["last moments"]["quantiles"]["0.5"] == sorted(TIMES["last moments"])[20].isoformat()
    assert figures["tenths"]["mean"] == 0.1


def test_estimates_over_many_rows_stay_whole_and_between_the_extremes(ingest: Ingest) -> None:
    rows, random = 200_001, np.random.default_rng(3)
    integers = {
        "near": (HIGH - random.integers(0, 1000, rows)).tolist(),
        "all": random.integers(LOW, HIGH, rows, endpoint=True).tolist(),
        "one": [WHOLE + 1] * rows,
    }
    frame = pl.DataFrame(integers | {"float": random.normal(0, 1, rows) * 1e307})
    out = io.BytesIO()
    frame.write_parquet(out)
    figures = ingest(out.getvalue())["profile"]["columns"]
    for name, found in figures.items():
        between(found)
        assert found["quantiles_approximate"]
        assert name == "float" or all(isinstance(value, int) for value in found["quantiles"].values())
    assert abs(figures["near"]["quantiles"]["0.5"] - (HIGH - 500)) < 20
    assert set(figures["one"]["quantiles"].values()) == {WHOLE + 1}


def test_a_whole_number_that_a_contract_of_floats_would_round_is_refused(ingest: Ingest) -> None:
    contract = [{"name": "x", "type": "float", "nullable": False}]
    kept = ingest(parquet({"x": pa.array([WHOLE, -WHOLE], pa.int64())}), contract=contract)
    assert kept["profile"]["columns"]["x"]["max"] == float(WHOLE)
    for number, kind in ((WHOLE + 1, pa.int64()), (-WHOLE - 1, pa.int64()), (2**64 - 1, pa.uint64())):
        with pytest.raises(Invalid) as refused:
            ingest(parquet({"x": pa.array([1, number], kind)}), contract=contract)
        assert "row 2, column x" in [problem.pointer for problem in refused.value.problems]
