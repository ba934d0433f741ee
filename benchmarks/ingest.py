"""Ingest of a 1 GB CSV beside bare Polars doing the same conversion: time and peak memory.

`python -m benchmarks.ingest [--size-bytes N] [--rounds N] [--memory-limit-bytes N]`. Both run in processes of their
own, alternating, on the same file. The conversion is compared with Polars' streaming CSV to Parquet with dates; the
profile, which Polars does not make, is told apart. Then a file ten times as large as the memory limit is read whole.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
from benchmarks.report import Figure, at_least, at_most, beside, record

_ROWS_AT_ONCE = 200_000
_SEED = 20260101
_TIME_GOAL = 1.2
_TIMES_THE_LIMIT = 10
_PEER = """
import json, resource, sys, time
started = time.perf_counter()
import polars as pl
pl.scan_csv(sys.argv[1], try_parse_dates=True).sink_parquet(sys.argv[2])
print(json.dumps({"seconds": time.perf_counter() - started,
                  "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
"""
_OURS = """
import json, pathlib, resource, sys, time
started = time.perf_counter()
from tidemill.training.ingest.lean import normalise

class Reporter:
    scratch, cpu_threads, memory_limit_bytes = pathlib.Path(sys.argv[3]), int(sys.argv[5]), int(sys.argv[4])
    converted = None
    def progress(self, stage, *_, **__):
        if stage == "profiling" and self.converted is None:
            self.converted = time.perf_counter() - started
            self.peak_bytes = peak()
    def check(self): pass
    def log(self, *_): pass
    def event(self, **_): pass

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

reporter = Reporter()
result = normalise({"source": sys.argv[1], "filename": "bench.csv", "output": sys.argv[2]}, reporter)
print(json.dumps({"seconds": reporter.converted, "peak_bytes": reporter.peak_bytes, "rows": result["row_count"],
                  "total_seconds": time.perf_counter() - started, "total_peak_bytes": peak()}))
"""


def make_csv(path: Path, size_bytes: int) -> None:
    """Orders with integers, floats, dates, times, booleans, categories, quoted text, leading zeros, missing values."""
    random = np.random.default_rng(_SEED)
    first = 0
    with path.open("wb") as out:
        while out.tell() < size_bytes:
            _orders(random, first).write_csv(out, include_header=first == 0, datetime_format="%Y-%m-%d %H:%M:%S")
            first += _ROWS_AT_ONCE


def _orders(random: np.random.Generator, first: int) -> pl.DataFrame:
    rows = _ROWS_AT_ONCE

    def one_of(*values: str) -> np.ndarray[Any, Any]:
        return np.array(values)[random.integers(0, len(values), rows)]

    seconds = random.integers(0, 3 * 365 * 86400, rows).astype("timedelta64[s]")
    frame = pl.DataFrame({
        "order_id": np.arange(first, first + rows),
        "ordered_at": (np.datetime64("2023-01-01", "us") + seconds).astype("datetime64[us]"),
        "delivery_date": np.datetime64("2023-01-01", "D") + random.integers(0, 1000, rows),
        "store": random.integers(1, 500, rows),
        "country": one_of("Germany", "France", "Spain", "Italy", "Poland", "Sweden"),
        "segment": one_of("retail", "wholesale, large", "online"),
        "quantity": random.poisson(4, rows),
        "price": np.round(random.lognormal(3, 1, rows), 2),
        "discount": np.where(random.random(rows) < 0.05, np.nan, np.round(random.random(rows), 3)),
        "weight_kg": random.gamma(2, 3, rows),
        "latitude": random.normal(48, 5, rows),
        "returned": random.random(rows) < 0.1,
        "zip_code": np.char.zfill(random.integers(0, 99_999, rows).astype(str), 5),
        "comment": one_of("", "ok", 'please ring "twice"', "leave at the door", "fragile"),
        "customer": random.integers(10**9, 10**10, rows),
    })  # fmt: skip
    return frame.with_columns(pl.col("discount").fill_nan(None))


def _measured(script: str, *arguments: str) -> dict[str, float]:
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=1800)
    return dict(json.loads(done.stdout))


def _run_peer(csv: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        return _measured(_PEER, str(csv), f"{folder}/peer.parquet")


def _run_ours(csv: Path, memory_limit_bytes: int, threads: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as parts, tempfile.TemporaryDirectory() as scratch:
        return _measured(_OURS, str(csv), parts, scratch, str(memory_limit_bytes), str(threads))


def _alternate(rounds: int, *runs: Callable[[], dict[str, float]]) -> list[list[dict[str, float]]]:
    """Results by run, then by round. The file was just written, so it lies in the page cache for all."""
    results: list[list[dict[str, float]]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, found in zip(runs, results, strict=True):
            found.append(run())
    return results


def _of(found: list[dict[str, float]], name: str) -> float:
    return median(result[name] for result in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-bytes", type=float, default=1e9)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-limit-bytes", type=float, default=320 * 2**20)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    limit_bytes = int(options.memory_limit_bytes)
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as folder:
        csv = Path(folder) / "orders.csv"
        make_csv(csv, int(options.size_bytes))
        size_bytes = csv.stat().st_size
        print(f"{size_bytes / 1e9:.2f} GB of CSV, memory limit {limit_bytes / 2**20:.0f} MiB, {options.rounds} rounds")
        ours, peer = _alternate(
            options.rounds, lambda: _run_ours(csv, limit_bytes, options.threads), lambda: _run_peer(csv)
        )
        csv.unlink()
        make_csv(csv, _TIMES_THE_LIMIT * limit_bytes)
        large_bytes = csv.stat().st_size
        large = _run_ours(csv, limit_bytes, options.threads)
    mib = 2**20
    record(
        [
            beside("conversion", _of(ours, "seconds"), "s", _of(peer, "seconds"), _TIME_GOAL),
            beside("conversion, peak memory", _of(ours, "peak_bytes") / mib, "MiB", _of(peer, "peak_bytes") / mib, 1),
            Figure("conversion and profile", _of(ours, "total_seconds"), "s"),
            at_most("all, peak memory", _of(ours, "total_peak_bytes") / mib, "MiB", limit_bytes / mib),
            Figure("file size by memory limit", size_bytes / limit_bytes, "times"),
            at_least("large file by memory limit", large_bytes / limit_bytes, "times", _TIMES_THE_LIMIT),
            at_most("large file, peak memory", large["total_peak_bytes"] / mib, "MiB", limit_bytes / mib),
            Figure("large file, conversion and profile", large["total_seconds"], "s"),
        ],
        "ingest",
    )


if __name__ == "__main__":
    main()
