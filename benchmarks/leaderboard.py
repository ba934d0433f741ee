"""The leaderboard of an experiment with 10,000 runs, as the api answers it.

``python -m benchmarks.leaderboard [--runs N] [--requests N]``. First pages of 50 runs, sorted by each metric in turn,
over loopback, one request at a time on one connection.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
from benchmarks.platform import platform
from benchmarks.report import Figure, at_most, record
from sqlalchemy import create_engine, insert

from tidemill.db.tables.experiments import Experiment, Run, RunMetric
from tidemill.kit import ids
from tidemill.kit.clock import utc_now
from tidemill.platform import postgres
from tidemill.platform.layout import Layout

_GOAL_MILLISECONDS = 20.0
_METRICS = ("roc_auc", "average_precision", "log_loss", "brier", "accuracy", "balanced_accuracy", "f1")
_BATCH = 2000
_SEED = 1


def fill(url: str, count: int) -> None:
    """An experiment ``bench`` of ``count`` finished runs with seven metrics each, beside one of as many others."""
    engine = create_engine(url)
    rng = np.random.default_rng(_SEED)
    with engine.begin() as connection:
        for name in ("bench", "other"):
            experiment = ids.new_id(ids.EXPERIMENT)
            connection.execute(insert(Experiment), [{"id": experiment, "name": name, "created_by": "bench"}])
            for start in range(0, count, _BATCH):
                runs = [_run(experiment, name, rng) for _ in range(min(_BATCH, count - start))]
                connection.execute(insert(Run), runs)
                connection.execute(insert(RunMetric), [row for run in runs for row in _metrics(run)])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    engine.dispose()


def _run(experiment: str, name: str, rng: np.random.Generator) -> dict[str, Any]:
    values = {metric: float(rng.random()) for metric in _METRICS}
    return {
        "id": ids.new_id(ids.RUN), "experiment_id": experiment, "experiment_name": name, "job_id": ids.new_id(ids.JOB),
        "dataset_name": "bench", "dataset_version_id": "dsv_bench", "dataset_version": 1, "dataset_sha256": "0" * 64,
        "options": {"target": "y"}, "created_by": "bench", "finished_at": utc_now(), "task": "binary",
        "metric": "roc_auc", "candidate": "lightgbm", "trials": 30, "model_version": 1,
        "metrics": {metric: {"value": value, "low": value, "high": value} for metric, value in values.items()},
    }  # fmt: skip


def _metrics(run: dict[str, Any]) -> list[dict[str, Any]]:
    shared = {"run_id": run["id"], "experiment_id": run["experiment_id"]}
    return [{**shared, "name": name, "value": found["value"]} for name, found in run["metrics"].items()]


def request_milliseconds(url: str, key: str, count: int) -> list[float]:
    took = []
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}) as http:
        for number in range(-20, count):
            began = time.perf_counter()
            answer = http.get(
                "/api/v1/experiments/bench/leaderboard", params={"sort": _METRICS[number % len(_METRICS)]}
            )
            seconds = time.perf_counter() - began
            answer.raise_for_status()
            assert len(answer.json()["items"]) == 50
            if number >= 0:
                took.append(1000 * seconds)
    return sorted(took)


def main(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as name:
        data_dir = Path(name) / "data"
        with platform(data_dir):
            fill(postgres.url(Layout(data_dir), "tidemill"), options.runs)
            address = json.loads((data_dir / "addresses.json").read_text())["api"]
            key = (data_dir / "admin.key").read_text().strip()
            took = request_milliseconds(address, key, options.requests)
    title = f"leaderboard of {options.runs} runs"
    slowest = Figure(f"{title}, 95%", took[int(0.95 * (len(took) - 1))], "ms")
    record([at_most(f"{title}, median", median(took), "ms", _GOAL_MILLISECONDS), slowest], "leaderboard")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=300)
    main(parser.parse_args())
