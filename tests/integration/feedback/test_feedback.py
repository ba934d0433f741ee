"""Feedback over REST: what is stored, what is refused, what changes nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.integration.conftest import MakeKey
from tests.integration.feedback.conftest import Ledger
from tests.integration.ledger_rows import id_at
from tidemill.auth.scopes import Scope
from tidemill.db.engine import SessionFactory, transaction
from tidemill.features.feedback import service
from tidemill.kit.clock import utc_now

Push = Callable[..., Awaitable[httpx.Response]]


async def _rows(sessions: SessionFactory) -> list[tuple[str, object]]:
    async with sessions() as session:
        return [
            tuple(row) for row in await session.execute(text("SELECT prediction_id, truth FROM feedback ORDER BY seq"))
        ]


async def test_truths_are_stored_and_the_same_again_changes_nothing(
    push: Push, ledger: Ledger, sessions: SessionFactory
) -> None:
    items = [(ledger.binary[0], ">50K"), (ledger.regression[0], 3), (ledger.integers[0], 1)]
    first, second = (await push(*items)).json(), (await push(*items)).json()
    assert (first["received"], first["accepted"], first["duplicates"], first["unmatched"]) == (3, 3, 0, 0)
    assert (second["received"], second["accepted"], second["duplicates"]) == (3, 0, 3)
    assert await _rows(sessions) == items


async def test_a_different_truth_is_a_revision_and_the_latest_counts(
    push: Push, ledger: Ledger, sessions: SessionFactory
) -> None:
    prediction = ledger.binary[0]
    await push((prediction, ">50K"))
    assert (await push((prediction, "<=50K"))).json()["revisions"] == 1
    async with sessions() as session:
        assert (await service.latest_truths(session, [prediction]))[prediction].value == "<=50K"
        assert await service.count_revisions(session, [prediction]) == 1
    assert [truth for _, truth in await _rows(sessions)] == [">50K", "<=50K"]


async def test_the_moment_of_observation_decides_which_truth_is_the_latest(
    push: Push, ledger: Ledger, sessions: SessionFactory
) -> None:
    prediction, now = ledger.binary[0], utc_now()
    later, earlier = now.isoformat(), (now - timedelta(hours=1)).isoformat()
    await push((prediction, ">50K", later))
    answer = (await push((prediction, "<=50K", earlier))).json()
    assert (answer["accepted"], answer["revisions"]) == (1, 0)
    assert (await push((prediction, "<=50K", earlier))).json()["duplicates"] == 1
    async with sessions() as session:
        assert (await service.latest_truths(session, [prediction]))[prediction].value == ">50K"


async def test_two_truths_for_one_prediction_in_one_request_are_taken_in_order(push: Push, ledger: Ledger) -> None:
    prediction = ledger.binary[0]
    answer = (await push((prediction, ">50K"), (prediction, ">50K"), (prediction, "<=50K"))).json()
    assert (answer["accepted"], answer["duplicates"], answer["revisions"]) == (2, 1, 1)


async def test_feedback_about_an_unknown_prediction_is_kept_and_counted(
    push: Push, ledger: Ledger, sessions: SessionFactory
) -> None:
    answer = (await push((id_at(utc_now()), "anything"), (ledger.binary[0], ">50K"))).json()
    assert (answer["accepted"], answer["unmatched"]) == (2, 1)
    assert len(await _rows(sessions)) == 2


async def test_truths_the_model_cannot_have_predicted_are_refused_by_place_and_never_echoed(
    push: Push, ledger: Ledger, sessions: SessionFactory
) -> None:
    response = await push(
        (ledger.binary[0], ">50K"),
        (ledger.binary[1], "secret-class"),
        (ledger.regression[0], "secret-text"),
        (ledger.integers[0], "1"),
        (ledger.integers[1], True),
    )
    assert (response.status_code, response.json()["code"]) == (422, "feedback_invalid")
    found = [(problem["pointer"], problem["code"]) for problem in response.json()["errors"]]
    assert found == [
        ("/items/1/truth", "truth_not_a_class"),
        ("/items/2/truth", "truth_not_number"),
        ("/items/3/truth", "truth_not_a_class"),
        ("/items/4/truth", "truth_not_a_class"),
    ]
    assert "secret" not in response.text
    assert await _rows(sessions) == []


@pytest.mark.parametrize(
    "item",
    [
        {"prediction_id": "prd_17", "truth": 1},
        {"prediction_id": "prd_" + "0" * 32, "truth": None},
        {"prediction_id": "prd_" + "0" * 32, "truth": ["x"]},
        {"prediction_id": "prd_" + "0" * 32, "truth": "x" * 1001},
        {"prediction_id": "prd_" + "0" * 32, "truth": "nul\x00"},
        {"prediction_id": "prd_" + "0" * 32, "truth": 1, "observed_at": "2026-01-01T00:00:00"},
        {"prediction_id": "prd_" + "0" * 32, "truth": 1, "observed_at": "2999-01-01T00:00:00Z"},
        {"prediction_id": "prd_" + "0" * 32},
    ],
)
async def test_malformed_items_are_refused_with_their_pointer(
    api: httpx.AsyncClient, ledger: Ledger, item: dict[str, object]
) -> None:
    good = {"prediction_id": ledger.binary[0], "truth": ">50K"}
    response = await api.post("/api/v1/feedback", json={"items": [good, item]})
    assert response.status_code == 422
    assert "items/1/" in response.json()["errors"][0]["pointer"]


async def test_infinite_numbers_and_too_many_items_are_refused(api: httpx.AsyncClient, ledger: Ledger) -> None:
    body = f'{{"items": [{{"prediction_id": "{ledger.regression[0]}", "truth": 1e999}}]}}'
    response = await api.post("/api/v1/feedback", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422
    item = {"prediction_id": ledger.binary[0], "truth": 1}
    assert (await api.post("/api/v1/feedback", json={"items": []})).status_code == 422
    assert (await api.post("/api/v1/feedback", json={"items": [item] * 10_001})).status_code == 422


async def test_the_same_feedback_sent_twice_at_once_is_stored_once(
    push: Push, ledger: Ledger, sessions: SessionFactory
) -> None:
    items = [(prediction, ">50K") for prediction in ledger.binary]
    answers = await asyncio.gather(*(push(*items) for _ in range(6)))
    assert sum(answer.json()["accepted"] for answer in answers) == 4
    assert len(await _rows(sessions)) == 4


async def test_feedback_cannot_be_changed_or_deleted(push: Push, ledger: Ledger, sessions: SessionFactory) -> None:
    await push((ledger.binary[0], ">50K"))
    for statement in ("UPDATE feedback SET truth = '1'", "DELETE FROM feedback", "TRUNCATE feedback"):
        with pytest.raises(DBAPIError, match="append-only"):
            async with transaction(sessions) as session:
                await session.execute(text(statement))


async def test_feedback_wants_its_scope(anonymous_api: httpx.AsyncClient, make_key: MakeKey, ledger: Ledger) -> None:
    body = {"items": [{"prediction_id": ledger.binary[0], "truth": ">50K"}]}
    for scope, status in ((Scope.PREDICT, 403), (Scope.FEEDBACK_WRITE, 200)):
        headers = {"Authorization": f"Bearer {await make_key(scope)}"}
        assert (await anonymous_api.post("/api/v1/feedback", json=body, headers=headers)).status_code == status


async def test_an_id_that_names_no_possible_moment_is_merely_unmatched(push: Push, ledger: Ledger) -> None:
    answer = (await push(("prd_" + "f" * 32, 1), ("prd_" + "0" * 32, 1))).json()
    assert (answer["accepted"], answer["unmatched"]) == (2, 2)
