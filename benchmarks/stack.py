"""What a stack adds: Nginx to one prediction, and a second model server to how many are answered.

``python -m benchmarks.stack`` brings up a stack of its own (Docker), trains one small model and measures from inside
the network of the stack, with kept connections, alternating between the two ways to a model server. It begins once the
machine is at rest: a stack that has just come up, and just trained, has work of its own for a while.
"""

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
from benchmarks.report import Figure, at_most, record
from tests.stack.compose import DEPLOY, Stack, build, object_store_image, run

PROJECT = "tidemill-bench-stack"
IMAGES = {"platform": "tidemill:bench-stack", "model-server": "tidemill-model-server:bench-stack"}
GOAL_ADDED_MS = 0.3
_ROWS = 400
_ROUNDS = 300
_REQUESTS_A_ROUND = 20
_SECONDS_OF_LOAD = 10
_CALLERS = 8
_AT_REST_PERCENT = 10.0
_LOOK_SECONDS = 3.0
_MOST_LOOKS = 40
_TIMEOUT_SECONDS = 600

_ASK = """
import http.client, json, ssl, statistics, sys, threading, time
order = json.loads(sys.argv[1])
body = json.dumps({"inputs": [order["row"]]})
headers = {"Authorization": "Bearer " + order["key"], "Content-Type": "application/json"}
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
path = "/api/v1/deployments/bench/predict"

def connect(way):
    host, port = way.rsplit(":", 1)
    if port == "8443":
        return http.client.HTTPSConnection(host, int(port), timeout=30, context=context)
    return http.client.HTTPConnection(host, int(port), timeout=30)

def ask(connection):
    began = time.perf_counter()
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    response.read()
    assert response.status == 200, response.status
    return time.perf_counter() - began

def latencies(ways, rounds, requests):
    connections = {way: connect(way) for way in ways}
    times = {way: [] for way in ways}
    for number in range(rounds + 3):
        for way in ways if number % 2 else ways[::-1]:
            found = [ask(connections[way]) for _ in range(requests)]
            times[way] += [found] if number >= 3 else []
    return {way: [[1000 * second for second in found] for found in rounds] for way, rounds in times.items()}

def throughput(way, callers, seconds):
    counts, end = [0] * callers, time.perf_counter() + seconds
    def load(place):
        connection = connect(way)
        while time.perf_counter() < end:
            ask(connection)
            counts[place] += 1
    threads = [threading.Thread(target=load, args=(place,)) for place in range(callers)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return sum(counts) / seconds

if order["what"] == "latencies":
    print(json.dumps(latencies(order["ways"], order["rounds"], order["requests"])))
else:
    print(json.dumps(throughput(order["ways"][0], order["callers"], order["seconds"])))
"""


def _ask(stack: Stack, what: str, ways: list[str], **options: Any) -> Any:
    """Run the caller in the api's container, which is on the same networks as Nginx and the model servers."""
    order = {"what": what, "ways": ways, "key": stack.key, "row": _row(0), **options}
    command = ["docker", "exec", "-i", stack.containers("api")[0]["Id"], "python", "-", json.dumps(order)]
    done = subprocess.run(command, input=_ASK, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr[-2000:])
    return json.loads(done.stdout)


def _row(number: int) -> dict[str, float]:
    return {f"x{column}": float((number * (column + 3)) % 17) for column in range(8)}


def _serve(stack: Stack, folder: Path) -> None:
    """One small model behind the deployment ``bench``."""
    lines = [",".join([*_row(0), "y"])]
    lines += [",".join([*(str(v) for v in _row(n).values()), "yes" if n % 17 > 8 else "no"]) for n in range(_ROWS)]
    (folder / "bench.csv").write_text("\n".join(lines) + "\n")
    stack.cli("dataset", "push", "bench.csv", "--name", "bench", folder=folder)
    stack.cli("train", "submit", "bench", "--target", "y", "--trials", "1", folder=folder)
    stack.cli("deploy", "apply", "bench", "--model", "bench-y:1", "--wait", folder=folder)


def _until_at_rest() -> None:
    """Wait until the machine's processors are all but idle; gives up, and says so, after two minutes."""
    for _ in range(_MOST_LOOKS):
        if psutil.cpu_percent(interval=_LOOK_SECONDS) < _AT_REST_PERCENT:
            return
    print("The machine does not come to rest; the figures hold what else it does.", file=sys.stderr)


def _measure(stack: Stack) -> list[Figure]:
    _until_at_rest()
    server = stack.containers("model-server")[0]["NetworkSettings"]["Networks"][f"{PROJECT}_application"]["IPAddress"]
    straight, through = f"{server}:8001", "nginx:8443"
    found = _ask(stack, "latencies", [straight, through], rounds=_ROUNDS, requests=_REQUESTS_A_ROUND)
    medians = {way: statistics.median(itertools.chain(*rounds)) for way, rounds in found.items()}
    # Within a round both ways meet the same machine, which is slower for seconds at a time when its host is busy.
    added = [
        statistics.median(with_nginx) - statistics.median(without)
        for with_nginx, without in zip(found[through], found[straight], strict=True)
    ]
    low, _, high = statistics.quantiles(added, n=4)
    one = _ask(stack, "throughput", [through], callers=_CALLERS, seconds=_SECONDS_OF_LOAD)
    stack.up("--no-recreate", "--scale", "model-server=2")
    two = _ask(stack, "throughput", [through], callers=_CALLERS, seconds=_SECONDS_OF_LOAD)
    return [
        Figure("predict p50, straight to a model server", medians[straight], "ms"),
        Figure("predict p50, through Nginx over TLS", medians[through], "ms"),
        at_most("Nginx adds to p50, median of rounds", statistics.median(added), "ms", GOAL_ADDED_MS),
        Figure("Nginx adds to p50, lower quartile of rounds", low, "ms"),
        Figure("Nginx adds to p50, upper quartile of rounds", high, "ms"),
        Figure("predictions a second, 1 model server", one, "1/s"),
        Figure("predictions a second, 2 model servers", two, "1/s", one, two / one),
    ]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as name:
        folder = Path(name)
        build(IMAGES)
        secrets = folder / "secrets"
        run([sys.executable, str(DEPLOY / "init"), "staging", "--into", str(secrets)], os.environ, 60)
        stack = Stack(PROJECT, secrets, _environment(secrets, object_store_image(folder)))
        try:
            stack.up("--scale", "model-server=1")
            _serve(stack, folder)
            record(_measure(stack), "stack")
        finally:
            stack.compose("down", "--volumes", "--remove-orphans", timeout_seconds=180)


def _environment(secrets: Path, store: str | None) -> dict[str, str]:
    environment = {
        "COMPOSE_PROJECT_NAME": PROJECT,
        "TIDEMILL_SECRETS": str(secrets),
        "TIDEMILL_HTTPS_PORT": "18443",
        "TIDEMILL_HTTP_PORT": "18080",
        "TIDEMILL_IMAGE": IMAGES["platform"],
        "TIDEMILL_MODEL_SERVER_IMAGE": IMAGES["model-server"],
        "COMPOSE_PROFILES": "",
        "TIDEMILL_EDGE_PREDICT_RATE": "100000r/s",
        "TIDEMILL_EDGE_PREDICT_BURST": "100000",
    }
    return environment if store is None else {**environment, "TIDEMILL_MINIO_IMAGE": store}


if __name__ == "__main__":
    main()
