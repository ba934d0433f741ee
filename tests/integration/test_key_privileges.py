"""What the holder of one key may do with other keys, in both directions, and which stack a key is of."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import httpx
import pytest
from sqlalchemy import update

from tests.integration.conftest import MakeKey
from tidemill.auth.keys import generate_token, read_token
from tidemill.auth.scopes import Scope
from tidemill.auth.service import NewKey, create_key
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.keys import ApiKey
from tidemill.kit.clock import utc_now

MakeToken = Callable[..., Awaitable[str]]
ADMIN, KEYS = ("admin",), ("keys:write",)
TRAINER = ("keys:write", "training:write", "mlflow:read")
HOLDERS = (ADMIN, KEYS, TRAINER)
TARGETS: dict[tuple[str, ...], set[tuple[str, ...]]] = {
    ("admin",): {ADMIN},
    ("keys:write",): {ADMIN, KEYS, TRAINER},
    ("keys:write", "admin"): {ADMIN},
    ("training:read",): {ADMIN, TRAINER},
    ("training:write", "mlflow:read"): {ADMIN, TRAINER},
    ("mlflow:write",): {ADMIN},
    ("serving",): {ADMIN},
    ("predict",): {ADMIN},
}
"""Scopes of a key, and who may create or revoke it."""


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def make_token(sessions: SessionFactory) -> MakeToken:
    """``await make_token("predict", expires_at=...)``"""

    async def make(*scopes: str, expires_at: datetime | None = None) -> str:
        async with transaction(sessions) as session:
            return (
                await create_key(session, NewKey("made", [Scope(each) for each in scopes], expires_at), "test", None)
            )[1]

    return make


async def test_nobody_creates_or_revokes_a_key_with_a_scope_that_they_do_not_hold(
    anonymous_api: httpx.AsyncClient, make_token: MakeToken
) -> None:
    await make_token("admin")  # so that no revocation below is of the last one
    for holder in HOLDERS:
        own = bearer(await make_token(*holder))
        for target, allowed in TARGETS.items():
            made = await anonymous_api.post("/api/v1/keys", json={"name": "x", "scopes": list(target)}, headers=own)
            victim = read_token(await make_token(*target)).key_id
            revoked = await anonymous_api.post(f"/api/v1/keys/{victim}:revoke", headers=own)
            expected = (201, 200) if holder in allowed else (403, 403)
            assert (made.status_code, revoked.status_code) == expected, (holder, target)
            if holder not in allowed:
                assert {made.json()["code"], revoked.json()["code"]} == {"scope_not_held"}
                assert victim in {
                    key["id"]
                    for key in (await anonymous_api.get("/api/v1/keys?page_size=500", headers=own)).json()["items"]
                    if key["revoked_at"] is None
                }


async def test_keys_without_the_scope_do_nothing_with_keys_not_even_their_own(
    anonymous_api: httpx.AsyncClient, make_token: MakeToken
) -> None:
    for scope in Scope:
        if scope in (Scope.ADMIN, Scope.KEYS_WRITE):
            continue
        token = await make_token(scope)
        mine, own = read_token(token).key_id, bearer(token)
        answers = [
            await anonymous_api.get("/api/v1/keys", headers=own),
            await anonymous_api.post("/api/v1/keys", json={"name": "x", "scopes": [scope]}, headers=own),
            await anonymous_api.post(f"/api/v1/keys/{mine}:revoke", headers=own),
        ]
        assert [answer.status_code for answer in answers] == [403] * 3, scope


async def test_a_key_makes_none_that_outlives_it(anonymous_api: httpx.AsyncClient, make_token: MakeToken) -> None:
    ends = utc_now() + timedelta(days=2)
    for scopes in (("admin",), ("keys:write",)):
        own = bearer(await make_token(*scopes, expires_at=ends))
        for expires_at, status in (
            (None, 403),
            (ends + timedelta(seconds=1), 403),
            (ends, 201),
            (ends - timedelta(days=1), 201),
        ):
            body = {"name": "x", "scopes": ["keys:write"], "expires_at": expires_at.isoformat() if expires_at else None}
            made = await anonymous_api.post("/api/v1/keys", json=body, headers=own)
            assert made.status_code == status, made.text
            assert status == 201 or made.json()["code"] == "expiry_beyond_own"


async def test_the_last_admin_key_stays_and_two_cannot_end_each_other_at_once(
    anonymous_api: httpx.AsyncClient, make_token: MakeToken, sessions: SessionFactory
) -> None:
    async with transaction(sessions) as session:
        await session.execute(update(ApiKey).values(revoked_at=utc_now()))
    await make_token("admin", expires_at=utc_now() - timedelta(days=1))  # over, so it opens nothing
    first, second = await make_token("admin"), await make_token("admin")
    ids = [read_token(token).key_id for token in (first, second)]
    answers = await asyncio.gather(
        anonymous_api.post(f"/api/v1/keys/{ids[1]}:revoke", headers=bearer(first)),
        anonymous_api.post(f"/api/v1/keys/{ids[0]}:revoke", headers=bearer(second)),
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[0] == 200
    assert statuses[1] in (401, 409)
    left = first if answers[0].status_code == 200 else second
    last = await anonymous_api.post(f"/api/v1/keys/{read_token(left).key_id}:revoke", headers=bearer(left))
    assert (last.status_code, last.json()["code"]) == (409, "key_last_admin")
    assert (await anonymous_api.get("/api/v1/keys", headers=bearer(left))).status_code == 200


async def test_a_key_of_another_environment_opens_nothing(
    anonymous_api: httpx.AsyncClient, make_key: MakeKey, sessions: SessionFactory
) -> None:
    """Such as one that came with a restored backup."""
    async with transaction(sessions) as session:
        key, token = await create_key(session, NewKey("moved", [Scope.ADMIN]), "production", None)
    refused = await anonymous_api.get("/api/v1/keys", headers=bearer(token))
    assert (refused.status_code, refused.json()["code"]) == (401, "key_foreign")
    assert (await anonymous_api.get("/api/v1/session", headers=bearer(token))).status_code == 401
    signed = await anonymous_api.post("/sign-in", data={"key": token}, headers={"Origin": "http://api"})
    assert signed.status_code == 401
    own = generate_token("test", key.id)  # the prefix alone is worth nothing
    assert (await anonymous_api.get("/api/v1/keys", headers=bearer(own))).status_code == 401
    assert (await anonymous_api.get("/api/v1/keys", headers=bearer(await make_key()))).status_code == 200
