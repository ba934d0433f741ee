"""Which secrets no environment but a local one starts with."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.unit.tokens import TOKEN_OF_PRODUCTION, TOKEN_OF_STAGING
from tidemill.admin.backups import app
from tidemill.admin.keys import KeyFile, refuse_weak_key
from tidemill.auth.keys import generate_token
from tidemill.auth.scopes import Scope
from tidemill.kit import ids
from tidemill.kit.errors import Invalid
from tidemill.settings.sources import load_settings

STRONG = "Zr7hW2mQx9LpT4vKc8NdYb3F"
DATABASE = "postgresql+psycopg://tidemill@db/tidemill"
GOOD = {
    "TIDEMILL_ENVIRONMENT": "production",
    "TIDEMILL_DATABASE__URL": DATABASE,
    "TIDEMILL_DATABASE__PASSWORD": STRONG,
    "TIDEMILL_OBJECT_STORE__ACCESS_KEY_ID": "GK31C2F218A2E44F485B",
    "TIDEMILL_OBJECT_STORE__SECRET_ACCESS_KEY": STRONG,
    "TIDEMILL_MODEL_SERVER__KEY": TOKEN_OF_PRODUCTION,
}


def test_strong_secrets_are_taken_and_the_password_completes_its_address() -> None:
    settings = load_settings(GOOD)
    assert settings.database.url.get_secret_value() == f"postgresql+psycopg://tidemill:{STRONG}@db/tidemill"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIDEMILL_DATABASE__PASSWORD", "Zr7hW2m"),
        ("TIDEMILL_DATABASE__PASSWORD", "correct-postgres-horse-battery"),
        ("TIDEMILL_DATABASE__PASSWORD", "ababababababababababababab"),
        ("TIDEMILL_OBJECT_STORE__ACCESS_KEY_ID", "minioadmin"),
        ("TIDEMILL_OBJECT_STORE__ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("TIDEMILL_OBJECT_STORE__SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ("TIDEMILL_MODEL_SERVER__KEY", "not-a-key-but-long-enough-to-be-one"),
        pytest.param("TIDEMILL_MODEL_SERVER__KEY", TOKEN_OF_STAGING, id="key-of-another-environment"),
        ("TIDEMILL_MLFLOW__TOKEN", "changeme"),
        ("AWS_SECRET_ACCESS_KEY", "minioadmin"),
    ],
)
def test_a_weak_or_example_secret_is_refused_by_name_and_never_told(name: str, value: str) -> None:
    with pytest.raises(Invalid) as raised:
        load_settings({**GOOD, name: value})
    assert raised.value.code == "secret_weak"
    told = " ".join([raised.value.detail, *(f"{p.pointer} {p.detail}" for p in raised.value.problems)])
    assert name in told or (name == "TIDEMILL_DATABASE__PASSWORD" and "TIDEMILL_DATABASE__URL" in told)
    assert value not in told


def test_the_identity_file_that_we_make_is_taken_and_a_weak_one_is_not(tmp_path: Path) -> None:
    file = tmp_path / "identity.txt"
    made = CliRunner().invoke(app, ["create-backup-identity", str(file)])
    assert made.exit_code == 0
    assert load_settings({**GOOD, "TIDEMILL_BACKUP__IDENTITY_FILE": str(file)}).backup.identity is not None
    file.write_text("# recipient: age1\nAGE-SECRET-KEY-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n")
    with pytest.raises(Invalid, match="TIDEMILL_BACKUP__IDENTITY"):
        load_settings({**GOOD, "TIDEMILL_BACKUP__IDENTITY_FILE": str(file)})


@pytest.mark.parametrize(
    ("token", "environment", "told"),
    [
        (TOKEN_OF_STAGING, "production", "of another environment"),
        ("tm_production_example", "production", "no API key"),
        (TOKEN_OF_PRODUCTION, "production", None),
        (TOKEN_OF_STAGING, "local", "of another environment"),
        (generate_token("local", ids.new_id(ids.KEY)), "local", None),
    ],
    ids=["of another environment", "an example", "its own", "another one's, locally", "a local platform's own"],
)
def test_a_key_file_must_hold_a_key_of_this_environment(
    tmp_path: Path, token: str, environment: str, told: str | None
) -> None:
    wanted = KeyFile("admin", [Scope.ADMIN], tmp_path / "admin_key")
    wanted.file.write_text(token + "\n")
    if told is None:
        refuse_weak_key(wanted, environment)
        return
    with pytest.raises(Invalid, match=f"admin_key.*{told}") as raised:
        refuse_weak_key(wanted, environment)
    assert token not in raised.value.detail


def test_a_server_is_not_addressed_without_a_password() -> None:
    without = {name: value for name, value in GOOD.items() if name != "TIDEMILL_DATABASE__PASSWORD"}
    with pytest.raises(Invalid, match="TIDEMILL_DATABASE__URL"):
        load_settings(without)


def test_a_socket_needs_no_password() -> None:
    local = {"TIDEMILL_ENVIRONMENT": "staging", "TIDEMILL_DATABASE__URL": "postgresql+psycopg:///tidemill?host=/run"}
    assert load_settings(local).environment == "staging"


def test_a_local_platform_may_be_as_weak_as_it_likes() -> None:
    weak = {**GOOD, "TIDEMILL_ENVIRONMENT": "local", "TIDEMILL_DATABASE__PASSWORD": "x"}
    assert load_settings(weak).environment == "local"


@pytest.mark.parametrize("password", ["p@ss/w:rd?#%", "ünïcode"])
def test_a_password_of_any_characters_fits_into_an_address(password: str) -> None:
    local = {"TIDEMILL_DATABASE__URL": DATABASE, "TIDEMILL_DATABASE__PASSWORD": password}
    url = load_settings(local).database.url.get_secret_value()
    assert url.startswith("postgresql+psycopg://tidemill:")
    assert url.endswith("@db/tidemill")
    assert password not in url
