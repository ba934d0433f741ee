"""``deploy/init``: secrets of a stack, made once."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tidemill.auth.keys import read_token
from tidemill.settings.weakness import weakness_of

ROOT = Path(__file__).parents[2]


def _init(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "deploy" / "init"), *arguments, "--into", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def _contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_a_second_run_changes_nothing_and_a_deleted_secret_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert _init(folder, "staging").returncode == 0
    before = _contents(folder)
    assert _init(folder, "staging").returncode == 0
    assert _contents(folder) == before
    (folder / "postgres_password").unlink()
    assert _init(folder, "staging").returncode == 0
    after = _contents(folder)
    assert {name for name in after if after[name] != before[name]} == {"postgres_password"}


def test_it_makes_what_the_compose_file_names_and_the_migration_stops_a_stack_that_lacks_a_newer_one(
    tmp_path: Path,
) -> None:
    _init(tmp_path / "secrets", "staging")
    named = re.findall(r"\$\{TIDEMILL_SECRETS[^}]*\}/(\w+)", (ROOT / "deploy/compose.yaml").read_text())
    assert set(named) == set(_contents(tmp_path / "secrets"))
    migrate = (
        (ROOT / "deploy/compose/data.yaml").read_text().partition("\n  migrate:\n")[2].partition("\n  migrate-")[0]
    )
    given = re.search(r"secrets: \[(.*)\]", migrate)
    assert given
    assert {"admin_key", "serving_key", "mlflow_token"} <= set(given[1].split(", "))


def test_its_secrets_are_strong_its_keys_are_keys_and_its_folder_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    _init(folder, "production")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    contents = _contents(folder)
    for name in ("admin_key", "serving_key"):
        assert contents[name].startswith("tm_production_")
        assert read_token(contents[name].strip()).key_id.startswith("key_")
    passwords = [text.strip() for name, text in contents.items() if name.endswith(("password", "secret_key"))]
    assert len(set(passwords)) == len(passwords)
    assert not [password for password in passwords if weakness_of(password)]


def test_it_names_the_group_that_may_read_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = tmp_path / "docker.sock"
    socket.touch()
    if os.geteuid() == 0:
        os.chown(socket, -1, 4321)
    group = socket.stat().st_gid
    monkeypatch.setenv("DOCKER_HOST", f"unix://{socket}")
    assert f"TIDEMILL_DOCKER_GROUP={group} in deploy/staging.env" in _init(tmp_path / "secrets", "staging").stdout
    monkeypatch.setenv("TIDEMILL_DOCKER_GROUP", str(group))
    assert "TIDEMILL_DOCKER_GROUP" not in _init(tmp_path / "secrets", "staging").stdout


@pytest.mark.parametrize("weak", ["Zr7hW2m", "correct-Postgres-horse-battery", "x" * 8 + "changeme" + "y" * 8])
def test_postgresql_refuses_a_weak_secret_by_name_and_takes_those_that_were_made(tmp_path: Path, weak: str) -> None:
    folder = tmp_path / "secrets"
    _init(folder, "production")
    assert _refuse_weak(folder).returncode == 0
    (folder / "postgres_mlflow_password").write_text(f"{weak}\n")
    refused = _refuse_weak(folder)
    told = refused.stderr
    assert (refused.returncode, "postgres_mlflow_password" in told, weak in told) == (1, True, False)


def _refuse_weak(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = ["sh", str(ROOT / "deploy/postgres/refuse-weak"), *map(str, sorted(folder.glob("postgres_*")))]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_nothing_secret_is_printed(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    done = _init(folder, "staging")
    for text in _contents(folder).values():
        assert not text.strip() or text.strip() not in done.stdout + done.stderr


def test_a_given_certificate_is_taken_and_never_replaces_another(tmp_path: Path) -> None:
    own, folder = tmp_path / "own", tmp_path / "secrets"
    _init(own, "staging")
    given = ("--certificate", str(own / "tls_certificate"), "--key", str(own / "tls_key"))
    assert _init(folder, "staging", *given).returncode == 0
    assert (folder / "tls_certificate").read_text() == (own / "tls_certificate").read_text()
    assert _init(folder, "staging", *given).returncode == 1


@pytest.mark.parametrize("environment", ["Staging", "../etc", "a b", "1st", "x" * 17])
def test_a_name_that_no_key_can_carry_is_refused(tmp_path: Path, environment: str) -> None:
    assert _init(tmp_path / "secrets", environment).returncode == 2
    assert not (tmp_path / "secrets").exists()
