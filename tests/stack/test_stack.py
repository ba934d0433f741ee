"""The loop on a whole stack through Nginx, and what happens to it when parts of the stack die."""

import csv
import itertools
import json
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.stack.compose import Stack, run, until
from tests.stack.conftest import DATASET, MODEL, TARGET, write_csv
from tidemill.client import Tidemill
from tidemill.kit.errors import TidemillError

_RESTART_SECONDS = 180  # imports, and a health check that looks every ten seconds
_numbers = itertools.count(1)


def test_the_loop_closes_through_nginx_over_tls(served: Stack, work: Path, rows: list[Any], inputs: list[Any]) -> None:
    begun = datetime.now(UTC).isoformat()
    write_csv(work / "new.csv", inputs)
    served.cli("predict", MODEL, "new.csv", "--save", "predictions.csv", folder=work)
    with (work / "predictions.csv").open(newline="") as file:
        predicted = list(csv.DictReader(file))
    truths = [
        {"prediction_id": given["prediction_id"], TARGET: row[TARGET]}
        for given, row in zip(predicted, rows, strict=True)
    ]
    write_csv(work / "truth.csv", truths)
    columns = ("--id-column", "prediction_id", "--truth-column", TARGET)
    assert served.cli("feedback", "push", MODEL, "truth.csv", *columns, folder=work)["accepted"] == len(rows)
    total = served.cli("monitor", "report", MODEL, "--since", begun, folder=work)["content"]["total"]
    assert (total["predictions"], total["labelled"]) == (len(rows), len(rows))


def test_mlflows_pages_and_programs_pass_the_sign_in(served: Stack) -> None:
    assert served.get("/mlflow/", signed=False).status_code == 401
    page = served.get("/mlflow/")
    assert (page.status_code, "<html" in page.text) == (200, True), page.text[:200]
    found = served.get("/mlflow/api/2.0/mlflow/experiments/search?max_results=10")
    assert found.json()["experiments"]
    assert served.get("/mlflow/ajax-api/3.0/mlflow/assistant/config").status_code == 404
    assert served.get("/metrics").status_code == 404


def test_containers_can_do_no_more_than_they_need(served: Stack) -> None:
    for service in served.compose("ps", "--services").split():
        for container in served.containers(service):
            host = container["HostConfig"]
            assert host["ReadonlyRootfs"], service
            assert host["CapDrop"] == ["ALL"], service
            assert "no-new-privileges:true" in host["SecurityOpt"], service
            assert host["Memory"] > 0, service
            assert host["PidsLimit"] > 0, service
            assert container["Config"]["User"] not in ("", "0", "root"), service
            published = [port for ports in container["NetworkSettings"]["Ports"].values() for port in ports or []]
            assert bool(published) == (service == "nginx"), service


def test_nothing_inside_reaches_the_outside(served: Stack) -> None:
    program = "import socket; socket.create_connection(('192.0.2.1', 443), 3)"
    for service in ("api", "worker", "model-server", "mlflow"):
        with pytest.raises(AssertionError, match="unreachable"):
            served.python(service, program)


def _loop_goes_on(client: Tidemill, work: Path, inputs: list[Any]) -> None:
    """A job with objects and MLflow behind it runs, a prediction is answered, recorded, and takes its truth."""
    name = f"probe-{next(_numbers)}"
    file = work / f"{name}.csv"
    file.write_text("a,b\n" + "".join(f"{number},{name}\n" for number in range(50)))
    until(lambda: client.datasets.push(file, name=name))
    answer = until(lambda: client.predict(MODEL, inputs[:2]))
    ids = [row.prediction_id for row in answer.predictions]
    until(lambda: all(client.predictions.get(prediction_id) for prediction_id in ids))
    until(lambda: client.feedback.push(MODEL, dict.fromkeys(ids, "benign")).accepted >= 0)


@pytest.mark.parametrize("service", ["model-server", "api", "worker", "mlflow", "object-store", "postgres", "nginx"])
def test_any_container_may_die_and_the_loop_goes_on(
    served: Stack, client: Tidemill, work: Path, inputs: list[Any], service: str
) -> None:
    victim = served.containers(service)[0]
    served.kill(victim)
    until(lambda: any(_restarted(found, victim) for found in served.containers(service)), _RESTART_SECONDS)
    _loop_goes_on(client, work, inputs)
    if service == "mlflow":
        run_id = until(lambda: client.experiments.start(DATASET, TARGET, trials=1)).run_id
        until(lambda: client.experiments.get(run_id).status == "succeeded", 180)


def test_the_loop_goes_on_without_those_who_watch(
    served: Stack, client: Tidemill, work: Path, inputs: list[Any]
) -> None:
    victims = {service: served.containers(service)[0] for service in ("prometheus", "alertmanager", "backup")}
    for victim in victims.values():
        served.kill(victim)
    _loop_goes_on(client, work, inputs)
    for service, victim in victims.items():
        until(
            lambda name=service, killed=victim: any(_restarted(found, killed) for found in served.containers(name)),
            _RESTART_SECONDS,
        )


def _restarted(found: dict[str, Any], victim: dict[str, Any]) -> bool:
    same = found["Id"] == victim["Id"] and found["RestartCount"] > victim["RestartCount"]
    return bool(same and found["State"].get("Health", {}).get("Status") == "healthy")


class _Load:
    """Callers that predict as fast as they are answered, until told to stop."""

    def __init__(self, stack: Stack, inputs: list[Any], callers: int = 4) -> None:
        self.answered: list[str] = []
        self.failures: list[TidemillError] = []
        self._stack, self._inputs = stack, inputs
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(callers)]

    def __enter__(self) -> "_Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self) -> None:
        with self._stack.client() as client:
            while not self._stop.is_set():
                try:
                    answer = client.predict(MODEL, self._inputs)
                    self.answered += [row.prediction_id for row in answer.predictions]
                except TidemillError as error:
                    self.failures.append(error)

    def until_answered(self, more: int) -> None:
        wanted = len(self.answered) + more
        until(lambda: len(self.answered) >= wanted)


def _in_ledger(stack: Stack, ids: list[str]) -> list[str]:
    """Which of ``ids`` PostgreSQL holds, as often as it holds them."""
    program = (
        "import json, sys, psycopg; from tidemill.settings.sources import load_settings;"
        "from tidemill.db.engine import conninfo; connection = psycopg.connect(conninfo(load_settings().database));"
        f"ids = json.loads({json.dumps(json.dumps(ids))});"
        "found = connection.execute('SELECT prediction_id FROM predictions WHERE prediction_id = ANY(%s)', [ids]);"
        "print(json.dumps([row[0] for row in found]))"
    )
    command = ["docker", "exec", "-i", stack.containers("api")[0]["Id"], "python", "-"]
    done = subprocess.run(command, input=program, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return list(json.loads(done.stdout))


def _all_arrived(stack: Stack, ids: list[str]) -> Callable[[], bool]:
    return lambda: set(_in_ledger(stack, ids)) == set(ids)


def test_a_replica_killed_under_load_costs_no_prediction(served: Stack, inputs: list[Any]) -> None:
    with _Load(served, inputs[:3]) as load:
        load.until_answered(150)
        victim = served.containers("model-server")[0]
        served.kill(victim)
        load.until_answered(300)
    assert load.failures == []
    until(_all_arrived(served, load.answered))
    found = _in_ledger(served, load.answered)
    assert len(found) == len(set(found)) == len(load.answered)
    until(lambda: any(_restarted(found, victim) for found in served.containers("model-server")), _RESTART_SECONDS)


def test_replicas_stopped_in_turn_under_load_cost_no_prediction(served: Stack, inputs: list[Any]) -> None:
    with _Load(served, inputs[:3]) as load:
        for container in served.containers("model-server"):
            load.until_answered(50)
            run(["docker", "restart", container["Id"]], {"PATH": "/usr/bin:/usr/local/bin"}, _RESTART_SECONDS)
            until(lambda: len([c for c in served.containers("model-server") if _healthy(c)]) == 2, _RESTART_SECONDS)
        load.until_answered(50)
    assert load.failures == []
    until(_all_arrived(served, load.answered))


def _healthy(container: dict[str, Any]) -> bool:
    return bool(container["State"].get("Health", {}).get("Status") == "healthy")


def test_what_a_removed_replica_had_not_shipped_arrives_all_the_same(
    served: Stack, client: Tidemill, inputs: list[Any]
) -> None:
    served.compose("stop", "api")
    with _Load(served, inputs[:3], callers=2) as load:
        load.until_answered(60)
    assert load.failures == []
    removed = served.containers("model-server")[0]["Id"]
    run(["docker", "rm", "--force", "--volumes", removed], {"PATH": "/usr/bin:/usr/local/bin"}, 60)
    served.up("--no-recreate", "--scale", "model-server=1")
    assert len(served.containers("model-server")) == 1
    until(_all_arrived(served, load.answered))
    served.up()
    assert len(served.containers("model-server")) == 2
    until(lambda: client.predict(MODEL, inputs[:1]))


_COPY = """
import boto3
from tidemill.settings.sources import load_settings
store = load_settings().object_store
s3 = boto3.resource("s3", endpoint_url=store.endpoint, region_name=store.region,
    aws_access_key_id=store.access_key_id.get_secret_value(),
    aws_secret_access_key=store.secret_access_key.get_secret_value())
moved = s3.create_bucket(Bucket="moved")
for item in s3.Bucket(store.url.removeprefix("s3://")).objects.all():
    moved.copy({"Bucket": item.bucket_name, "Key": item.key}, item.key)
"""


def test_the_bucket_moves_by_one_setting_and_nothing_dangles(
    served: Stack, client: Tidemill, work: Path, inputs: list[Any]
) -> None:
    served.python("worker", _COPY)
    moved = replace(served, environment={**served.environment, "TIDEMILL_OBJECT_STORE_URL": "s3://moved"})
    moved.up()
    moved.compose("exec", "-T", "worker", "tidemill", "admin", "check-store", "--read")
    _loop_goes_on(client, work, inputs)
    assert client.datasets.get(DATASET).name == DATASET
    served.up()
