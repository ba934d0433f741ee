"""Training through the platform beside the same computation as a bare script: same library, same trials, same seed.

``python -m benchmarks.training [--rounds N] [--trials N] [--file CSV --target COLUMN]``. The platform's time is its
job's, from asking to registered: queue, child, trials kept in PostgreSQL, files stored, run and model logged to MLflow.
The bare script searches, fits, assesses and saves in one process with nothing around it. They take turns on one
machine. Told apart, without a goal: a script that only searches, fits and scores, with no intervals, figures,
importance or saved model.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from benchmarks.platform import platform
from benchmarks.report import Figure, beside, record
from pyarrow import csv
from sklearn.datasets import make_classification

from tidemill.client import Tidemill

_GOAL = 1.05
_SHARED = Path(__file__).parents[2] / "shared" / "data" / "adult.csv"
_TIMEOUT_SECONDS = 3600
_GENERATED_ROWS = 50_000
_BARE = """
import json, pathlib, sys, time
started = time.perf_counter()
from tidemill.training.entry import train

class Reporter:
    scratch, cpu_threads, memory_limit_bytes = pathlib.Path(), 2, 1 << 34
    def progress(self, *_, **__): pass
    def log(self, *_): pass
    def event(self, **_): pass
    def check(self): pass

result = train(json.loads(sys.argv[1]), Reporter())
print(json.dumps({"seconds": time.perf_counter() - started, "metrics": result["metrics"]}))
"""
_LEAST = """
import json, pathlib, sys, time
started = time.perf_counter()
import numpy, optuna
from tidemill.schemas.experiments import TrainingOptions
from tidemill.training.fitting import scores_of
from tidemill.training.folds import encoded_folds
from tidemill.training.pipelines import refit
from tidemill.training.preparation import prepare
from tidemill.training.search import Search, SearchLimits, best_of, open_study

class Reporter:
    def progress(self, *_, **__): pass
    def check(self): pass

order = json.loads(sys.argv[1])
options = TrainingOptions.model_validate(order["options"])
ready = prepare([pathlib.Path(part) for part in order["parts"]], options, 2)
study = open_study("bare", optuna.storages.InMemoryStorage(), ready.setting)
folds = encoded_folds(ready.frame, ready.target, ready.features, ready.split)
done = Search(study, ready.setting, folds, Reporter()).run(SearchLimits(options.trials, None))
rows = ready.split.development
model = refit(ready.frame.iloc[rows], ready.target.labels[rows], ready.features, ready.setting,
              best_of(done, ready.setting.metric))
scores_of(model, ready.frame.iloc[ready.split.holdout], ready.setting)
print(json.dumps({"seconds": time.perf_counter() - started}))
"""


def through_platform(tidemill: Tidemill, target: str, trials: int) -> tuple[float, dict[str, Any]]:
    """Seconds from asking to registered, and the holdout's metrics."""
    started = tidemill.experiments.start("bench", target, trials=trials)
    run = tidemill.experiments.wait(started, _TIMEOUT_SECONDS)
    job = tidemill.jobs.get(started.job_id)
    assert job.finished_at is not None
    metrics = {name: found.model_dump() for name, found in run.metrics.items()}
    return (job.finished_at - job.created_at).total_seconds(), metrics


def as_script(script: str, part: Path, target: str, trials: int) -> dict[str, Any]:
    """What a bare process answers."""
    with tempfile.TemporaryDirectory() as output:
        order = {
            "job_id": "bare", "model_name": "bench", "output": output, "parts": [str(part)],
            "dataset": {"name": "bench", "number": 1, "version_id": "dsv_bench", "sha256": "0" * 64},
            "options": {"target": target, "trials": trials},
        }  # fmt: skip
        environment = os.environ | {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE", "MPLBACKEND": "Agg"}
        done = subprocess.run(
            [sys.executable, "-c", script, json.dumps(order)], env=environment, capture_output=True, text=True,
            timeout=_TIMEOUT_SECONDS, check=True,
        )  # fmt: skip
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _generated(folder: Path) -> Path:
    features, target = make_classification(_GENERATED_ROWS, 14, n_informative=8, flip_y=0.1, random_state=0)
    frame = pd.DataFrame(features, columns=[f"x{number}" for number in range(features.shape[1])])
    frame.assign(income=target).to_csv(folder / "generated.csv", index=False)
    return folder / "generated.csv"


def main(options: argparse.Namespace) -> None:
    ours, bare, least, answers = [], [], [], []
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as name:
        folder = Path(name)
        file = options.file or (_SHARED if _SHARED.is_file() else _generated(folder))
        part = folder / "part.parquet"
        pq.write_table(csv.read_csv(file), part)
        with platform(folder / "data"):
            addresses = json.loads((folder / "data" / "addresses.json").read_text())
            key = (folder / "data" / "admin.key").read_text().strip()
            with Tidemill(addresses["api"], key) as tidemill:
                tidemill.datasets.push(file, "bench")
                for _ in range(options.rounds):
                    seconds, metrics = through_platform(tidemill, options.target, options.trials)
                    script = as_script(_BARE, part, options.target, options.trials)
                    ours.append(seconds)
                    bare.append(float(script["seconds"]))
                    answers.append(metrics == script["metrics"])
                    least.append(float(as_script(_LEAST, part, options.target, options.trials)["seconds"]))
    record(
        [
            beside(f"training, {options.trials} trials", median(ours), "s", median(bare), _GOAL),
            Figure("same holdout metrics as the bare script", float(all(answers)), "1 is yes"),
            Figure("only search, fit and score", median(least), "s"),
        ],
        "training",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--target", default="income")
    main(parser.parse_args())
