"""The command line against a real api: data on stdout, talk on stderr, exit codes that scripts can trust."""

import json

import pytest

from tests.integration.conftest import LiveApi, RunCli
from tidemill.client import Tidemill
from tidemill.kit.errors import Conflict, Forbidden, Unauthenticated, Unavailable


async def test_a_key_is_created_listed_and_revoked(run_cli: RunCli) -> None:
    code, token, talk = await run_cli("key", "create", "ci", "--scope", "predict", "--expires-in", "90d")
    assert code == 0
    assert token.strip().startswith("tm_test_")
    assert "shown only now" in talk
    code, listing, _ = await run_cli("--output", "json", "key", "list")
    key = next(key for key in json.loads(listing) if key["name"] == "ci")
    assert key["expires_at"] is not None
    assert (await run_cli("key", "revoke", key["id"]))[0] == 0
    code, out, err = await run_cli("key", "revoke", key["id"])
    assert (code, out) == (5, "")
    assert "key_already_revoked" in err


async def test_exit_codes_tell_what_went_wrong(run_cli: RunCli) -> None:
    assert (await run_cli("key", "revoke", "key_nope"))[0] == 4
    assert (await run_cli("key", "nonsense"))[0] == 2
    code, _, err = await run_cli("key", "list", environment={"TIDEMILL_API_KEY": "wrong"})
    assert (code, "key_malformed" in err) == (1, True)
    code, _, err = await run_cli("key", "list", environment={"TIDEMILL_URL": "http://127.0.0.1:9"})
    assert (code, "cannot be reached" in err) == (1, True)


async def test_settings_are_shown_with_their_origin(run_cli: RunCli) -> None:
    code, out, _ = await run_cli("-o", "json", "config", "show", environment={"TIDEMILL_LOG_LEVEL": "debug"})
    origins = {item["name"]: item for item in json.loads(out)}
    assert code == 0
    assert origins["TIDEMILL_LOG_LEVEL"]["source"] == "environment TIDEMILL_LOG_LEVEL"
    assert origins["TIDEMILL_DATABASE__URL"]["value"] == "********"


def test_the_sdk_raises_the_errors_the_server_described(live_api: LiveApi) -> None:
    with Tidemill(live_api.url, live_api.key) as tidemill:
        key = tidemill.keys.create("sdk", ["predict"])
        with Tidemill(live_api.url, key.token) as poor, pytest.raises(Forbidden) as forbidden:
            poor.keys.create("x", ["predict"])
        assert forbidden.value.code == "scope_missing"
        tidemill.keys.revoke(key.id)
        with pytest.raises(Conflict):
            tidemill.keys.revoke(key.id)
    with Tidemill(live_api.url, key.token) as revoked, pytest.raises(Unauthenticated):
        list(revoked.keys.list())
    with Tidemill("http://127.0.0.1:9", "x") as away, pytest.raises(Unavailable):
        list(away.keys.list())
