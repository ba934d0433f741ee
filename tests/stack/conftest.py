"""The stack that all of these tests share: built, brought up from a clean state, taken down with its volumes."""

import csv
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_breast_cancer

from tests.ports import free_port
from tests.stack.compose import (
    DEPLOY,
    ROOT,
    Stack,
    build,
    image_of,
    is_present,
    object_store_image,
    profiles_to_be_had,
    run,
)
from tidemill.client import Tidemill

LOGS = ROOT / "build" / "stack" / "logs"
PROJECT = "tidemill-test-stack"
DATASET, MODEL, TARGET = "tumours", "tumours-diagnosis", "diagnosis"
_FIELDS = 10
IMAGES = {"platform": "tidemill:test-stack", "model-server": "tidemill-model-server:test-stack"}
_LEFT_OUT = {
    "postgres-exporter": "not all images of its profile are here",
    "nginx-exporter": "not all images of its profile are here",
    "node-exporter": "not all images of its profile are here",
    "grafana": "not all images of its profile are here",
    "loki": "not all images of its profile are here",
    "alloy": "not all images of its profile are here",
}

_notes = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_notes] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what this run did not show."""
    if notes := config.stash[_notes]:
        terminalreporter.section("the stack")
        for note in notes:
            terminalreporter.write_line(note)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed and (stack := item.session.stash.get(_running, None)) is not None:
        stack.save_logs(LOGS)
        report.sections.append(("containers' logs", str(LOGS)))


_running = pytest.StashKey[Stack]()


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A new staging stack, reached through Nginx over TLS."""
    folder = tmp_path_factory.mktemp("stack")
    shutil.rmtree(LOGS, ignore_errors=True)
    build(IMAGES)
    secrets = folder / "secrets"
    run([sys.executable, str(DEPLOY / "init"), "staging", "--into", str(secrets)], os.environ, 60)
    store = object_store_image(folder)
    stack = Stack(PROJECT, secrets, _environment(secrets, store))
    request.config.stash[_notes] += [f"object store: {store or 'MinIO, built by deploy/minio'}", *_left_out(stack)]
    stack.compose("down", "--volumes", "--remove-orphans", timeout_seconds=180)
    request.session.stash[_running] = stack
    previous = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(secrets / "tls_certificate")
    try:
        stack.up()
        yield stack
    except AssertionError:
        stack.save_logs(LOGS)
        raise
    finally:
        _restore("SSL_CERT_FILE", previous)
        stack.compose("down", "--volumes", "--remove-orphans", timeout_seconds=180)


def _environment(secrets: Path, store: str | None) -> dict[str, str]:
    environment = {
        "COMPOSE_PROJECT_NAME": PROJECT,
        "TIDEMILL_SECRETS": str(secrets),
        "TIDEMILL_HTTPS_PORT": str(free_port()),
        "TIDEMILL_HTTP_PORT": str(free_port()),
        "TIDEMILL_IMAGE": IMAGES["platform"],
        "TIDEMILL_MODEL_SERVER_IMAGE": IMAGES["model-server"],
        "COMPOSE_PROFILES": profiles_to_be_had(),
        "TIDEMILL_DOCKER_GROUP": str(Path("/var/run/docker.sock").stat().st_gid),
        "TIDEMILL_BACKUP__DRILL_EVERY_HOURS": "0",  # a drill of an empty stack would only take the machine's time
    }
    return environment if store is None else {**environment, "TIDEMILL_MINIO_IMAGE": store}


def _left_out(stack: Stack) -> list[str]:
    running = set(stack.compose("config", "--services").split())
    notes = [f"left out: {name} ({why})" for name, why in _LEFT_OUT.items() if name not in running]
    if not is_present(image_of("object-store-seaweedfs.yaml", "object-store")):
        notes.append("left out: seaweedfs (no image of it here; its Compose file is read, not run)")
    return notes


def _restore(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the files of a user."""
    return tmp_path_factory.mktemp("work")


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="session")
def rows() -> list[dict[str, Any]]:
    frame = load_breast_cancer(as_frame=True)
    table = frame.data.iloc[:, :_FIELDS].round(5)
    table.columns = [str(name).replace(" ", "_") for name in table.columns]
    table[TARGET] = [str(frame.target_names[code]) for code in frame.target]
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


@pytest.fixture(scope="session")
def inputs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != TARGET} for row in rows]


@pytest.fixture(scope="session")
def served(stack: Stack, work: Path, rows: list[dict[str, Any]]) -> Stack:
    """The stack with a dataset, a champion trained on it and its deployment, all made by the command line."""
    write_csv(work / "tumours.csv", rows)
    stack.cli("dataset", "push", "tumours.csv", "--name", DATASET, folder=work)
    stack.cli("train", "submit", DATASET, "--target", TARGET, "--trials", "2", folder=work)
    stack.cli("deploy", "apply", MODEL, "--model", f"{MODEL}@champion", "--wait", folder=work)
    return stack


@pytest.fixture
def client(served: Stack) -> Iterator[Tidemill]:
    with served.client() as client:
        yield client
