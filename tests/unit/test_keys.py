"""The form of API keys, and what scopes include."""

import pytest

from tidemill.auth.keys import generate_token, read_token, token_of_header
from tidemill.auth.scopes import Scope, grants
from tidemill.kit import ids
from tidemill.kit.errors import Unauthenticated
from tidemill.model_server.access import KeyRing
from tidemill.schemas.serving import KeySpec


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


def test_a_key_is_read_for_its_own_environment_alone() -> None:
    token = generate_token("staging", ids.new_id(ids.KEY))
    assert read_token(token, "staging").environment == "staging"
    for other in ("production", "stag", "stagings", "local"):
        with pytest.raises(Unauthenticated) as refused:
            read_token(token, other)
        assert refused.value.code == "key_foreign"
    with pytest.raises(Unauthenticated):
        read_token(token + "\n", "staging")


def test_a_model_server_takes_no_key_of_another_environment_even_if_the_snapshot_has_it() -> None:
    ring = KeyRing("staging")
    tokens = [generate_token(environment, ids.new_id(ids.KEY)) for environment in ("staging", "production")]
    shown = [read_token(token) for token in tokens]
    ring.replace(
        [KeySpec(id=key.key_id, secret_sha256=key.secret_sha256, scopes=["predict"], expires_at=None) for key in shown]
    )
    assert ring.authenticate(f"Bearer {tokens[0]}").key_id == shown[0].key_id
    with pytest.raises(Unauthenticated) as refused:
        ring.authenticate(f"Bearer {tokens[1]}")
    assert refused.value.code == "key_foreign"
