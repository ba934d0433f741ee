"""The form of API keys, and what scopes include."""

import pytest

from tidemill.auth.keys import generate_token, read_token, token_of_header
from tidemill.auth.scopes import Scope, grants
from tidemill.kit import ids
from tidemill.kit.errors import Unauthenticated


def test_a_token_names_its_key_and_environment_and_survives_reading() -> None:
    key_id = ids.new_id(ids.KEY)
    token = generate_token("staging", key_id)
    assert token.startswith("tm_staging_")
    assert read_token(token).key_id == key_id
    assert generate_token("staging", key_id) != token


@pytest.mark.parametrize("position", [0, 5, 20, -20, -1])
def test_one_changed_character_is_recognised_without_a_database(position: int) -> None:
    token = generate_token("local", ids.new_id(ids.KEY))
    changed = "1" if token[position] != "1" else "2"
    broken = token[:position] + changed + token[position + 1 if position != -1 else len(token) :]
    with pytest.raises(Unauthenticated):
        read_token(broken)


@pytest.mark.parametrize("header", [None, "", "Digest x", "Basic !!!", "Basic ////"])
def test_a_header_without_a_key_is_refused(header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        token_of_header(header)


def test_admin_includes_all_and_write_includes_read() -> None:
    assert grants(frozenset({"admin"}), Scope.PREDICT)
    assert grants(frozenset({"datasets:write"}), Scope.DATASETS_READ)
    assert not grants(frozenset({"datasets:read"}), Scope.DATASETS_WRITE)
    assert not grants(frozenset(), Scope.DATASETS_READ)
