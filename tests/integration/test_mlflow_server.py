"""MLflow's server as the platform starts it, and its migration, which is a job of its own."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.integration.mlflow_server import MLFLOW_CONNECTIONS, MLFLOW_TOKEN
from tests.integration.test_stopping import answer_of
from tidemill.db.engine import conninfo
from tidemill.settings.model import DatabaseSettings


def test_migrating_needs_the_database_alone_and_writes_no_file(database: DatabaseSettings, tmp_path: Path) -> None:
    url = conninfo(database)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS mlflow_test")
    named = database.url.get_secret_value() + "&options=-csearch_path%3Dmlflow_test"
    command = [sys.executable, "-m", "tidemill.platform.mlflow_server", "--migrate"]
    environment = {**os.environ, "TIDEMILL_MLFLOW__DATABASE_URL": named}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT to_regclass('mlflow_test.experiments')").fetchone()
    assert found is not None
    assert found[0] is not None


@pytest.mark.parametrize("path", ["config", "sessions/one/stream", "message"])
def test_the_assistant_that_runs_commands_is_closed(mlflow_server: str, path: str) -> None:
    with httpx.Client(base_url=mlflow_server, timeout=10, auth=("platform", MLFLOW_TOKEN)) as http:
        assert http.get("/ajax-api/2.0/mlflow/experiments/search?max_results=1").status_code == 200
        assert http.get(f"/ajax-api/3.0/mlflow/assistant/{path}").status_code == 404
        assert http.post(f"/ajax-api/3.0/mlflow/assistant/{path}", json={"message": "hello"}).status_code == 404


def test_it_bounds_headers_and_connections_as_our_own_servers_do(mlflow_server: str) -> None:
    host, port = mlflow_server.removeprefix("http://").split(":")
    with ExitStack() as opened:

        def connect() -> socket.socket:
            return opened.enter_context(socket.create_connection((host, int(port)), timeout=20))

        long = connect()
        with suppress(ConnectionResetError, BrokenPipeError):  # it answers before it has read all
            long.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 2**20)
        assert long.recv(13) == b"HTTP/1.1 431 "
        held_back = connect()
        held_back.sendall(b"PUT /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
        status, headers = answer_of(held_back)
        assert (status, headers["connection"]) == (401, "close"), "what comes next may be the body or another request"
        half_open = [connect() for _ in range(2 * MLFLOW_CONNECTIONS)]
        for connection in half_open:
            with suppress(ConnectionResetError, BrokenPipeError):
                connection.sendall(b"GET /health HTTP/1.1\r\nHo")
        newcomer = connect()
        newcomer.sendall(f"GET /health HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        answer = newcomer.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.lower().count(b"\ndate:") <= 1
        for connection in half_open[:MLFLOW_CONNECTIONS]:
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b"", "ended, unanswered"


def test_it_does_not_start_without_the_token_of_its_platform(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tidemill.platform.mlflow_server"]
    environment = {**os.environ, "TIDEMILL_MLFLOW__DATABASE_URL": f"sqlite:///{tmp_path}/mlflow.db"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, "MLFLOW__TOKEN" in done.stderr) == (1, True), done.stderr
