"""Models over the real api."""

import asyncio
from datetime import UTC, datetime

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from tests.integration.registry.models import new_version, register
from tidemill.db.engine import SessionFactory, transaction
from tidemill.features.registry import service
from tidemill.kit.errors import Invalid, NotFound

URL = "/api/v1/models/loans"


async def force(api: httpx.AsyncClient, version: int) -> httpx.Response:
    return await api.post(f"{URL}:promote", json={"version": version, "force": True, "reason": "Trusted"})


async def champion(api: httpx.AsyncClient) -> int | None:
    number: int | None = (await api.get(URL)).json()["aliases"].get("champion")
    return number


async def test_a_registered_version_is_challenger_and_the_gate_is_asked(
    api: httpx.AsyncClient, sessions: SessionFactory
) -> None:
    version = await register(sessions)
    model = (await api.get(URL)).json()
    assert (model["latest_version"], model["aliases"], model["champion"]) == (1, {"challenger": 1}, None)
    shown = (await api.get(f"{URL}/versions/1")).json()
    assert (shown["id"], shown["aliases"], shown["signature"]["inputs"][0]["name"]) == (
        version.id,
        ["challenger"],
        "age",
    )
    async with transaction(sessions) as session:
        kinds = list(await session.scalars(text("SELECT kind FROM jobs")))
    assert kinds == ["registry.gate"]


async def test_registering_twice_for_one_job_gives_one_version(sessions: SessionFactory) -> None:
    first = await register(sessions, job_id="job_one")
    again = await register(sessions, job_id="job_one")
    assert (again.id, again.number) == (first.id, 1)


async def test_versions_registered_at_once_get_different_numbers(sessions: SessionFactory) -> None:
    versions = await asyncio.gather(*(register(sessions) for _ in range(5)))
    assert sorted(version.number for version in versions) == [1, 2, 3, 4, 5]


async def test_references_resolve_to_versions(api: httpx.AsyncClient, sessions: SessionFactory) -> None:
    for _ in range(2):
        await register(sessions)
    await force(api, 1)
    async with transaction(sessions) as session:
        assert (await service.resolve(session, "loans")).number == 1
        assert (await service.resolve(session, "loans@challenger")).number == 2
        assert (await service.resolve(session, "loans:2")).number == 2
        for reference, kind in (("loans@gone", NotFound), ("loans:9", NotFound), ("x", NotFound), ("a b", Invalid)):
            with pytest.raises(kind):
                await service.resolve(session, reference)


async def test_force_needs_a_reason_and_is_recorded_as_such(api: httpx.AsyncClient, sessions: SessionFactory) -> None:
    await register(sessions)
    refused = await api.post(f"{URL}:promote", json={"version": 1, "force": True})
    assert refused.status_code == 422
    done = await force(api, 1)
    assert done.status_code == 200, done.text
    assert done.json()["event"] | {"id": "", "moved_at": "", "who": "", "request_id": ""} == {
        "id": "", "moved_at": "", "who": "", "request_id": "",
        "alias": "champion", "from_number": None, "to_number": 1, "kind": "forced", "why": "Trusted",
        "decision_id": None, "who_name": "test",
    }  # fmt: skip
    again = await force(api, 1)
    assert (again.status_code, again.json()["code"]) == (409, "already_champion")


async def test_a_promotion_that_is_not_forced_asks_the_gate(api: httpx.AsyncClient, sessions: SessionFactory) -> None:
    await register(sessions)
    answer = await api.post(f"{URL}:promote", json={"version": 1})
    assert answer.status_code == 202
    assert answer.json()["status"] == "deciding"
    assert answer.headers["location"] == f"/api/v1/jobs/{answer.json()['job_id']}"


async def test_two_promotions_at_once_are_both_recorded_one_after_the_other(
    api: httpx.AsyncClient, sessions: SessionFactory
) -> None:
    for _ in range(2):
        await register(sessions)
    answers = await asyncio.gather(force(api, 1), force(api, 2))
    assert [answer.status_code for answer in answers] == [200, 200]
    answer = await api.get(f"{URL}/history", params={"alias": "champion"})
    assert answer.status_code == 200, answer.text
    history = answer.json()["items"]
    assert [event["from_number"] for event in history] == [history[1]["to_number"], None]
    assert {event["to_number"] for event in history} == {1, 2}
    assert {event["who_name"] for event in history} == {"test"}


async def test_rollback_goes_back_step_by_step_and_stops_at_the_first_champion(
    api: httpx.AsyncClient, sessions: SessionFactory
) -> None:
    for number in (1, 2, 3):
        await register(sessions)
        await force(api, number)
    for expected in (2, 1):
        assert (await api.post(f"{URL}:rollback", json={})).json()["to_number"] == expected
    refused = await api.post(f"{URL}:rollback", json={})
    assert (refused.status_code, refused.json()["code"]) == (409, "no_previous_champion")
    await force(api, 3)
    assert (await api.post(f"{URL}:rollback", json={"reason": "Bad"})).json()["to_number"] == 1


async def test_rollback_skips_deleted_versions(api: httpx.AsyncClient, sessions: SessionFactory) -> None:
    for number in (1, 2, 3):
        await register(sessions)
        await force(api, number)
    assert (await api.delete(f"{URL}/versions/2")).status_code == 200
    assert (await api.post(f"{URL}:rollback", json={})).json()["to_number"] == 1


async def test_history_says_what_served_at_a_moment(api: httpx.AsyncClient, sessions: SessionFactory) -> None:
    moments = [datetime.now(UTC)]
    for number in (1, 2):
        await register(sessions)
        await force(api, number)
        moments.append(datetime.now(UTC))
    served = []
    for moment in moments:
        state = (await api.get(f"{URL}/aliases", params={"at": moment.isoformat()})).json()
        served.append({event["alias"]: event["to_number"] for event in state["aliases"]})
        assert {event["who_name"] for event in state["aliases"]} <= {"test"}
    assert served == [{}, {"champion": 1}, {"champion": 2}]


@pytest.mark.parametrize("statement", ["UPDATE alias_history SET why = ''", "DELETE FROM alias_history",
                                       "TRUNCATE alias_history"])  # fmt: skip
async def test_the_database_refuses_to_rewrite_history(sessions: SessionFactory, statement: str) -> None:
    await register(sessions)
    with pytest.raises(IntegrityError, match="append-only"):
        async with transaction(sessions) as session:
            await session.execute(text(statement))


async def test_a_version_in_use_is_not_deleted(api: httpx.AsyncClient, sessions: SessionFactory) -> None:
    version = await register(sessions)
    refused = await api.delete(f"{URL}/versions/1")
    assert (refused.status_code, refused.json()["code"]) == (409, "model_version_in_use")
    assert refused.json()["errors"][0]["pointer"] == "alias challenger"
    await api.delete(f"{URL}/aliases/challenger")
    async with transaction(sessions) as session:
        await service.pin(session, version.id, "deployment/loans")
    assert (await api.delete(f"{URL}/versions/1")).json()["errors"][0]["pointer"] == "deployment/loans"
    async with transaction(sessions) as session:
        await service.unpin(session, version.id, "deployment/loans")
    assert (await api.delete(f"{URL}/versions/1")).status_code == 200
    assert (await api.get(f"{URL}/versions")).json()["items"] == []
    assert (await api.get(f"{URL}/versions/1")).json()["deleted_at"] is not None
    assert (await api.delete(f"{URL}/versions/1")).json()["code"] == "model_version_deleted"


async def test_the_policy_changes_only_as_it_was_read(api: httpx.AsyncClient, sessions: SessionFactory) -> None:
    await register(sessions)
    read = await api.get(f"{URL}/policy")
    assert (read.json()["revision"], read.headers["etag"]) == (1, '"1"')
    wanted = read.json()["policy"] | {"champion_margin": 0.01}
    first = await api.put(f"{URL}/policy", json=wanted, headers={"If-Match": read.headers["etag"]})
    assert (first.status_code, first.json()["revision"], first.headers["etag"]) == (200, 2, '"2"')
    late = await api.put(f"{URL}/policy", json=wanted, headers={"If-Match": read.headers["etag"]})
    assert (late.status_code, late.json()["code"]) == (412, "policy_changed")
    unknown = await api.put(f"{URL}/policy", json={"resample": 5})
    assert unknown.status_code == 422
    for wrong, code in (({"metric": "rocauc"}, "metric_unfit"), ({"ignored_checks": ["leak"]}, "check_unknown")):
        refused = await api.put(f"{URL}/policy", json=wrong)
        assert (refused.status_code, refused.json()["code"]) == (422, code)


async def test_aliases_are_set_and_removed_but_champion_is_not(
    api: httpx.AsyncClient, sessions: SessionFactory
) -> None:
    await register(sessions)
    assert (await api.put(f"{URL}/aliases/shadow", json={"version": 1})).json()["to_number"] == 1
    assert (await api.put(f"{URL}/aliases/shadow", json={"version": 1})).json()["code"] == "alias_unmoved"
    assert (await api.put(f"{URL}/aliases/shadow", json={"version": 2})).status_code == 404
    assert (await api.delete(f"{URL}/aliases/shadow")).json()["kind"] == "removed"
    assert (await api.delete(f"{URL}/aliases/shadow")).status_code == 404
    for refused in (
        await api.put(f"{URL}/aliases/champion", json={"version": 1}),
        await api.delete(f"{URL}/aliases/champion"),
    ):
        assert (refused.status_code, refused.json()["code"]) == (409, "alias_reserved")


async def test_lists_are_paged(api: httpx.AsyncClient, sessions: SessionFactory) -> None:
    for name in ("a", "b", "c"):
        await register(sessions, name)
    async with transaction(sessions) as session:
        for _ in range(2):
            await service.register_version(session, new_version("a"))
    for path, read in (("", "name"), ("/a/versions", "number"), ("/a/history", "id")):
        seen, token = [], None
        while True:
            page = (
                await api.get(
                    f"/api/v1/models{path}", params={"page_size": 2} | ({"page_token": token} if token else {})
                )
            ).json()
            seen += [item[read] for item in page["items"]]
            token = page["next_page_token"]
            if token is None:
                break
        assert len(seen) == len(set(seen)) == 3


async def test_a_missing_model_is_not_found(api: httpx.AsyncClient) -> None:
    for method, path in (
        ("GET", ""),
        ("GET", "/versions"),
        ("GET", "/policy"),
        ("GET", "/history"),
        ("GET", "/aliases"),
    ):
        answer = await api.request(method, URL + path)
        assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found")
