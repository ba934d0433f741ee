"""A stack that lost everything but its backups."""

import json
import os
from typing import Any

from tests.stack.compose import Stack, run, until
from tests.stack.conftest import MODEL
from tidemill.client import Tidemill

_SECONDS = 300
_KEPT = "_backups"


def _admin(stack: Stack, *arguments: str) -> str:
    return stack.compose("exec", "-T", "backup", "tidemill", "admin", *arguments, timeout_seconds=_SECONDS)


def _outputs(client: Tidemill, inputs: list[Any]) -> list[Any]:
    answer = until(lambda: client.predict(MODEL, inputs))
    return [row.model_dump(exclude={"prediction_id"}) for row in answer.predictions]


def _wipe(stack: Stack) -> None:
    """Remove every container and every volume but that of the backups."""
    stack.compose("down", timeout_seconds=_SECONDS)
    mine = ["docker", "volume", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={stack.project}"]
    lost = [name for name in run(mine, os.environ, _SECONDS).split() if not name.endswith(_KEPT)]
    assert any(name.endswith("_postgres") for name in lost)
    run(["docker", "volume", "rm", *lost], os.environ, _SECONDS)


def test_a_wiped_stack_is_restored_and_predicts_as_before(served: Stack, inputs: list[Any]) -> None:
    with served.client() as client:
        before = _outputs(client, inputs)
        kept = until(lambda: [row.prediction_id for row in client.predictions.list(MODEL)])
    backup_id = json.loads(_admin(served, "backup", "--output", "json"))["id"]

    _wipe(served)
    wait = ("--wait", "--wait-timeout", str(_SECONDS))
    served.compose("up", "--detach", *wait, "postgres", "object-store", "backup", timeout_seconds=_SECONDS)
    _admin(served, "restore", "--from", backup_id, "--replace")
    _admin(served, "check-store", "--read")
    served.up()

    with served.client() as client:
        assert _outputs(client, inputs) == before
        assert set(kept) <= {row.prediction_id for row in client.predictions.list(MODEL)}
    drill = json.loads(_admin(served, "restore-drill", "--from", backup_id, "--output", "json"))
    assert drill["passed"]
    assert sum(version["identical"] for version in drill["versions"]) > 0
