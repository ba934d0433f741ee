"""Tests find the programs that a machine has, and say which it lacks: no Docker, a bare client, old and new Compose."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import programs

_BARE = "#!/bin/sh\necho 'docker: unknown command: docker compose' >&2\nexit 1\n"
_PLUGIN = '#!/bin/sh\n[ "$1" = compose ] && echo {version}\n'
_ALONE = "#!/bin/sh\necho {version}\n"

Machine = Callable[..., None]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """``machine(docker=script)``: a machine whose PATH holds these programs alone."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(programs.COMPLETE, raising=False)

    def make(**scripts: str) -> None:
        for name, script in scripts.items():
            file = tmp_path / name.replace("_", "-")
            file.write_text(script)
            file.chmod(0o755)

    return make


@pytest.mark.parametrize(
    ("scripts", "lack"),
    [
        ({}, "no Docker Compose"),
        ({"docker": _BARE}, "no Docker Compose"),
        ({"docker_compose": _ALONE.format(version="1.29.2")}, "no docker-compose 2.24 or newer, only 1.29.2"),
        ({"docker": _PLUGIN.format(version="2.17.3")}, "no docker compose 2.24 or newer, only 2.17.3"),
    ],
    ids=["no Docker", "a bare client", "the first Compose", "an old plugin"],
)
def test_a_machine_without_compose_leaves_out_what_needs_it(
    machine: Machine, scripts: dict[str, str], lack: str
) -> None:
    machine(**scripts)
    with pytest.raises(pytest.skip.Exception, match=lack):
        programs.docker_compose()


@pytest.mark.parametrize(
    "scripts",
    [
        {"docker": _PLUGIN.format(version="2.40.3+ds1-0ubuntu1")},
        {"docker": _BARE, "docker_compose": _ALONE.format(version="v5.0.0")},
    ],
    ids=["a plugin", "alone, beside a bare client"],
)
def test_compose_is_used_where_it_is(machine: Machine, scripts: dict[str, str]) -> None:
    machine(**scripts)
    assert programs.docker_compose().version >= (2, 40)


def test_an_engine_is_one_that_answers(machine: Machine) -> None:
    machine()
    assert not programs.docker_answers()
    machine(docker=_BARE)
    assert not programs.docker_answers()
    machine(docker="#!/bin/sh\necho 28.5.2\n")
    assert programs.docker_answers()


def test_nothing_is_left_out_where_everything_was_asked_for(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine()
    monkeypatch.setenv(programs.COMPLETE, "1")
    with pytest.raises(pytest.fail.Exception, match=r"no promtool \(apt-get install prometheus\)"):
        programs.need("promtool", "apt-get install prometheus")
