"""`tidemill up`: starts, refuses, survives, stops."""

import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request

import httpx
import psutil

from tests.system.conftest import MakeUp, Up


def _until_answers(url: str, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=10)
        except (OSError, urllib.error.HTTPError):
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"{url} did not come back")


def _until_started(up: Up, word: str, seconds: float = 240) -> None:
    """Before that, an answer of another part may still be about the one that is gone."""
    deadline = time.monotonic() + seconds
    while not up.runs(word):
        assert time.monotonic() < deadline, f"{word} was not started again"
        time.sleep(0.1)


def test_the_platform_lives_through_kills_and_keeps_everything(make_up: MakeUp) -> None:
    up = make_up().start().ready()
    first_output = up.read()
    assert up.key in first_output
    for file in ("admin.key", "serving.key", "mlflow.token", "addresses.json"):
        assert stat.S_IMODE((up.data_dir / file).stat().st_mode) == 0o600
    with up.client() as client:
        made = client.keys.create("survivor", ["predict"])

    _mlflow_asks_for_a_key(up)
    _a_second_start_is_refused(up)
    _each_killed_part_comes_back(up)

    same_ports = [f"--{name.replace('_', '-')}-port={url.rpartition(':')[2]}" for name, url in up.addresses.items()]
    before = up.children()
    up.kill()
    up.start(*same_ports).ready()
    assert not [child for child in before if child.is_running() and child.status() != "zombie"]
    assert up.key not in up.read()
    with up.client() as client:
        assert made.id in {key.id for key in client.keys.list()}

    everything = psutil.Process(up.process.pid if up.process else 0).children(recursive=True)
    assert up.stop(signal.SIGINT) == 0
    assert not [process for process in everything if process.is_running() and process.status() != "zombie"], up.read()
    assert not (up.data_dir / "addresses.json").exists()


def _mlflow_asks_for_a_key(up: Up) -> None:
    artifact = up.addresses["mlflow"] + "/api/2.0/mlflow-artifacts/artifacts/up/file.txt"
    token = (up.data_dir / "mlflow.token").read_text().strip()
    assert httpx.put(artifact, content=b"x").status_code == 401
    for secret in (up.key, token):
        assert httpx.put(artifact, content=secret[:2].encode(), auth=("anybody", secret)).status_code == 200
        assert httpx.get(artifact, auth=("anybody", secret)).text == secret[:2]


def _a_second_start_is_refused(up: Up) -> None:
    command = [sys.executable, "-m", "tidemill.cli.main", "up", "--data-dir", str(up.data_dir)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert second.returncode == 5
    assert "already up" in second.stderr
    assert "Traceback" not in second.stderr


def _each_killed_part_comes_back(up: Up) -> None:
    addresses = up.addresses
    urls = {
        "tidemill.api": addresses["api"] + "/readyz",
        "tidemill.model_server": addresses["model_server"] + "/readyz",
        "tidemill.worker": addresses["worker"] + "/readyz",
        "tidemill.platform.mlflow_server": addresses["mlflow"] + "/health",
        "bin/postgres": addresses["api"] + "/readyz",
    }
    for word, url in urls.items():
        victim = up.child(word)
        victim.kill()
        victim.wait(60)
        _until_started(up, word)
        _until_answers(url)
        assert up.child(word).pid != victim.pid
    with up.client() as client:
        assert len(list(client.keys.list())) >= 3


def test_a_busy_port_is_one_clear_sentence(make_up: MakeUp) -> None:
    up = make_up()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        up.start(f"--api-port={port}")
        assert up.process is not None
        assert up.process.wait(240) == 5
    assert f"Port {port} is in use; choose another one with --api-port." in up.read()
    assert "Traceback" not in up.read()


def test_being_stopped_while_starting_leaves_nothing_behind(make_up: MakeUp) -> None:
    up = make_up().start().until("starting mlflow")
    assert up.process is not None
    children = psutil.Process(up.process.pid).children(recursive=True)
    assert up.stop() == 0
    assert not [child for child in children if child.is_running() and child.status() != "zombie"]
