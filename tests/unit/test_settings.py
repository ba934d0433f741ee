"""Where settings come from, and what is said when they are wrong."""

from pathlib import Path

import pytest

from tidemill.kit.errors import Invalid
from tidemill.settings.sources import load_settings, load_settings_with_origins


def test_environment_wins_over_file_and_file_over_default(tmp_path: Path) -> None:
    file = tmp_path / "tidemill.toml"
    file.write_text('log_level = "debug"\n[api]\nport = 9000\nhost = "0.0.0.0"\n')
    settings, origins = load_settings_with_origins({"TIDEMILL_API__PORT": "9100"}, file)
    assert (settings.api.port, settings.api.host, settings.log_level) == (9100, "0.0.0.0", "debug")
    sources = {origin.name: origin.source for origin in origins}
    assert sources["TIDEMILL_API__PORT"] == "environment TIDEMILL_API__PORT"
    assert sources["TIDEMILL_API__HOST"] == "file tidemill.toml"
    assert sources["TIDEMILL_WORKER__PORT"] == "default"


def test_a_secret_can_be_a_file_and_is_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql+psycopg://u:hidden@db/x\n")
    settings, origins = load_settings_with_origins({"TIDEMILL_DATABASE__URL_FILE": str(secret)})
    assert settings.database.url.get_secret_value().endswith("@db/x")
    assert not [origin for origin in origins if "hidden" in origin.value]


def test_lists_are_separated_by_commas() -> None:
    assert load_settings({"TIDEMILL_WORKER__QUEUES": "training, default"}).worker.queues == ("training", "default")


@pytest.mark.parametrize(
    ("environ", "code", "names"),
    [
        ({"TIDEMILL_API__PROT": "1"}, "setting_unknown", "TIDEMILL_API__PROT"),
        ({"TIDEMILL_API__PORT": "seventy-secret"}, "setting_invalid", "TIDEMILL_API__PORT"),
        ({"TIDEMILL_API__PORT": "70000"}, "setting_invalid", "TIDEMILL_API__PORT"),
        ({"TIDEMILL_DATABASE__URL_FILE": "/nonexistent"}, "setting_file_unreadable", "TIDEMILL_DATABASE__URL_FILE"),
        ({"TIDEMILL_CONFIG": "/nonexistent"}, "config_unreadable", "configuration file"),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not_told(environ: dict[str, str], code: str, names: str) -> None:
    with pytest.raises(Invalid) as raised:
        load_settings(environ)
    assert raised.value.code == code
    assert names in raised.value.detail
    assert "secret" not in raised.value.detail


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tidemill.toml"
    file.write_text("[api]\nprot = 1\n")
    with pytest.raises(Invalid, match=r"api\.prot"):
        load_settings({}, file)
