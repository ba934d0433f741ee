"""The loop on a platform as a user starts it, while parts of it are killed."""

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from sklearn.datasets import load_breast_cancer

from tests.system.conftest import README, Up
from tests.unit.training.tables import census
from tidemill.client import Tidemill
from tidemill.kit.errors import TidemillError, Unavailable
from tidemill.schemas.experiments import TrainingStarted
from tidemill.schemas.jobs import Job

DATASET, TARGET = "tumours", "diagnosis"
MODEL = f"{DATASET}-{TARGET}"
WAIT_SECONDS = 600
TRIALS = 8


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    frame = load_breast_cancer(as_frame=True)
    table = frame.data.round(5)
    table[TARGET] = [str(frame.target_names[code]) for code in frame.target]
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


@pytest.fixture(scope="module")
def up(make_module_up: Callable[[], Up], rows: list[dict[str, Any]]) -> Up:
    """A platform with one dataset, one model that became champion, and its deployment."""
    up = make_module_up().start().ready()
    _write_csv(up.data_dir.parent / "tumours.csv", rows)
    _run(up, "dataset", "push", "tumours.csv", "--name", DATASET)
    _run(up, "train", "submit", DATASET, "--target", TARGET, "--trials", "2")
    _run(up, "deploy", "apply", MODEL, "--model", f"{MODEL}@champion", "--wait")
    return up


@pytest.fixture
def client(up: Up) -> Iterator[Tidemill]:
    with up.client() as client:
        yield client


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _run(up: Up, *arguments: str) -> Any:
    command = [sys.executable, "-m", "tidemill.cli.main", "-o", "json", "--data-dir", str(up.data_dir), *arguments]
    done = subprocess.run(
        command, cwd=up.data_dir.parent, capture_output=True, text=True, timeout=600, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def _until(condition: Callable[[], Any], seconds: float = WAIT_SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except Unavailable:
            pass
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


def test_the_loop_closes(up: Up, client: Tidemill, rows: list[dict[str, Any]]) -> None:
    inputs = [{name: value for name, value in row.items() if name != TARGET} for row in rows]
    _write_csv(up.data_dir.parent / "new.csv", inputs)
    _run(up, "predict", MODEL, "new.csv", "--save", "predictions.csv")
    with (up.data_dir.parent / "predictions.csv").open(newline="") as file:
        predicted = list(csv.DictReader(file))
    truths = [
        {"prediction_id": given["prediction_id"], TARGET: row[TARGET]}
        for given, row in zip(predicted, rows, strict=True)
    ]
    _write_csv(up.data_dir.parent / "truth.csv", truths)
    columns = ("--id-column", "prediction_id", "--truth-column", TARGET)
    assert _run(up, "feedback", "push", MODEL, "truth.csv", *columns)["accepted"] == len(rows)
    assert _run(up, "feedback", "push", MODEL, "truth.csv", *columns)["accepted"] == 0

    report = _run(up, "monitor", "report", MODEL)
    total = report["content"]["total"]
    assert (total["predictions"], total["labelled"]) == (len(rows), len(rows))
    roc_auc = next(metric for metric in total["metrics"] if metric["name"] == "roc_auc")
    assert roc_auc["live"]["low"] < roc_auc["live"]["value"] <= roc_auc["live"]["high"]
    assert roc_auc["holdout"] is not None

    moves = list(client.models.history(MODEL))
    assert [(move.alias, move.to_number, move.kind) for move in moves if move.alias == "champion"] == [
        ("champion", 1, "gate")
    ]
    assert client.models.get(MODEL).aliases["champion"] == 1


def _readme_commands() -> list[list[str]]:
    """The README's lines for the shell, with fewer seconds to train."""
    lines = re.findall(r"^tidemill .*$", README.read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(line.replace("--time-budget 2m", "--time-budget 5s")) for line in lines]


def test_the_readme_on_the_command_line_closes_the_loop(up: Up, client: Tidemill) -> None:
    """Its ten lines as they stand; the outcomes are written when the predictions are there."""
    folder = up.data_dir.parent
    (folder / "tidemill-data").symlink_to(up.data_dir)
    table = census(600)
    table.to_csv(folder / "people.csv", index=False)
    table.drop(columns="income").to_csv(folder / "new-people.csv", index=False)
    commands = _readme_commands()
    assert len(commands) == 10
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}
    for words in commands:
        command = [sys.executable, "-m", "tidemill.cli.main", *words[1:]]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=600, check=False, env=environment
        )
        assert done.returncode == 0, (words, done.stderr)
        if words[1] == "predict":
            predicted = pd.read_csv(folder / "predictions.csv")[["prediction_id"]]
            predicted.assign(income=table["income"]).to_csv(folder / "outcomes.csv", index=False)
    (report,) = client.monitoring.list_reports("adult-income")
    total = client.monitoring.get_report(report.id).content.total
    assert (total.predictions, total.labelled) == (len(table), len(table))


def _more(answered: list[str], count: int) -> None:
    """Wait until so many more are answered."""
    wanted = len(answered) + count
    _until(lambda: len(answered) >= wanted)


def _searching(client: Tidemill, started: TrainingStarted, trials: int) -> Job:
    """Wait until ``trials`` trials are finished."""

    def finished() -> Job | None:
        job = client.jobs.get(started.job_id)
        assert job.status in ("queued", "running"), job.error
        search = job.progress is not None and job.progress.stage == "search" and job.progress.done >= trials
        return job if search else None

    return _until(finished)  # type: ignore[no-any-return]


def _finished_run(client: Tidemill, started: TrainingStarted) -> Any:
    job = _until(lambda: (found := client.jobs.get(started.job_id)).status == "succeeded" and found)
    run = client.experiments.get(started.run_id)
    assert run.report is not None
    assert run.trials == TRIALS
    numbers = [version.number for version in client.models.versions(MODEL)]
    assert numbers.count(run.model_version) == 1
    return job


def test_a_worker_killed_in_the_middle_of_training_loses_no_trial(up: Up, client: Tidemill) -> None:
    versions_before = len(list(client.models.versions(MODEL)))
    started = client.experiments.start(DATASET, TARGET, trials=TRIALS, seed=1)
    _searching(client, started, 2)
    worker = up.child("tidemill.worker")
    children = worker.children(recursive=True)
    worker.kill()
    killed_at = time.monotonic()
    _until(lambda: client.jobs.get(started.job_id).attempt == 2)
    assert time.monotonic() - killed_at < 30
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    _finished_run(client, started)
    assert len(list(client.models.versions(MODEL))) == versions_before + 1


@pytest.mark.parametrize("word", ["bin/postgres", "tidemill.platform.mlflow_server", "tidemill.api"])
def test_training_outlives_what_goes_away_and_comes_back(up: Up, client: Tidemill, word: str) -> None:
    started = client.experiments.start(DATASET, TARGET, trials=TRIALS, seed=2)
    _searching(client, started, 1)
    up.child(word).kill()
    _finished_run(client, started)


def test_predictions_go_on_without_the_api_and_the_database_and_all_arrive_once(
    up: Up, client: Tidemill, rows: list[dict[str, Any]]
) -> None:
    inputs = [{name: value for name, value in row.items() if name != TARGET} for row in rows[:5]]
    answered: list[str] = []
    failures: list[TidemillError] = []
    stop = threading.Event()

    def ask() -> None:
        with up.client() as own:
            while not stop.is_set():
                try:
                    answer = own.predict(MODEL, inputs)
                    answered.extend(row.prediction_id for row in answer.predictions)
                except TidemillError as error:
                    failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for word in ("tidemill.api", "bin/postgres"):
            _more(answered, 20)
            up.child(word).kill()
        time.sleep(3)
        _more(answered, 20)
    finally:
        stop.set()
        asking.join(60)
    assert not failures
    assert len(answered) >= 60

    def arrived() -> bool:
        found = [row.prediction_id for row in client.predictions.list(MODEL)]
        assert len(found) == len(set(found))
        return set(answered) <= set(found)

    _until(arrived)


def test_a_model_server_killed_under_load_has_kept_every_answer(
    up: Up, client: Tidemill, rows: list[dict[str, Any]]
) -> None:
    inputs = [{name: value for name, value in row.items() if name != TARGET} for row in rows[:3]]
    answered: list[str] = []

    def ask() -> None:
        with up.client() as own:
            for _ in range(400):
                try:
                    answered.extend(row.prediction_id for row in own.predict(MODEL, inputs).predictions)
                except TidemillError:
                    return

    asking = threading.Thread(target=ask)
    asking.start()
    _until(lambda: len(answered) >= 30)
    up.child("tidemill.model_server").send_signal(signal.SIGKILL)
    asking.join(60)
    assert answered
    _until(lambda: set(answered) <= {row.prediction_id for row in client.predictions.list(MODEL)})
    _until(lambda: client.predict(MODEL, inputs).predictions)
