"""Every list that the api answers or reads whole has a limit in rows and in bytes, and loses nothing at either."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, text

from tests.integration.experiments.test_runs_api import BOARD, add_runs
from tests.integration.ledger_rows import Predicted, add_predictions, add_version
from tests.integration.monitoring.conftest import deployed, tell
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.jobs import Job, JobLog
from tidemill.features.deployments import queries as deployments
from tidemill.features.feedback import queries as feedback
from tidemill.features.predictions import service as predictions
from tidemill.features.predictions.service import LedgerWindow, Sampling
from tidemill.features.registry.states import MAX_ALIASES
from tidemill.jobs.journal import MAX_LINE_CHARACTERS
from tidemill.kit import ids
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import TooLarge
from tidemill.kit.limits import MAX_SIGNATURE_BYTES, MAX_SNAPSHOT_BYTES, PAGE_BYTES

_SLACK_BYTES = 200_000
"""Of what stands around the values that are measured."""


async def _job_with_lines(sessions: SessionFactory, count: int) -> str:
    """The longest lines that a job may write, of characters that JSON writes as six bytes each."""
    job_id = ids.new_id(ids.JOB)
    async with transaction(sessions) as session:
        session.add(
            Job(id=job_id, kind="k", queue="q", status="succeeded", payload={}, timeout_seconds=1, principal="key_0")
        )
        await session.flush()
        line = {"job_id": job_id, "attempt": 1, "level": "info", "message": "\x01" * MAX_LINE_CHARACTERS}
        await session.execute(insert(JobLog), [line] * count)
    return job_id


async def test_log_lines_and_events_of_a_job_come_in_pages_of_bytes_and_none_is_left_out(
    api: httpx.AsyncClient, sessions: SessionFactory
) -> None:
    count = PAGE_BYTES // (6 * MAX_LINE_CHARACTERS) + 50
    job_id = await _job_with_lines(sessions, count)
    seen, after, more = 0, 0, True
    while more:
        answer = await api.get(f"/api/v1/jobs/{job_id}/logs", params={"after": after, "limit": 1000})
        page = answer.json()
        assert len(answer.content) < PAGE_BYTES + _SLACK_BYTES
        seen, after, more = seen + len(page["items"]), page["next_after"], page["more"]
    assert seen == count
    events = (await api.get(f"/api/v1/jobs/{job_id}/events")).text
    assert (events.count("event: log\n"), events.count("event: state\n")) == (count, 1)


async def test_a_leaderboard_ends_its_page_where_the_metrics_of_runs_fill_it(
    api: httpx.AsyncClient, sessions: SessionFactory
) -> None:
    runs = await add_runs(sessions, [{"rmse": float(number)} for number in range(3)])
    async with transaction(sessions) as session:
        wide = "jsonb_build_object('rmse', jsonb_build_object('value', 1, 'low', 1, 'high', 1))"
        many = "(SELECT jsonb_object_agg('m' || n, metrics->'rmse') FROM generate_series(1, 60000) AS n)"
        await session.execute(text(f"UPDATE runs SET metrics = {wide} || {many}"))
    pages: list[list[str]] = []
    token: str | None = ""
    while token is not None:
        answer = await api.get(BOARD, params={"page_token": token} if token else {})
        pages.append([row["run_id"] for row in answer.json()["items"]])
        token = answer.json()["next_page_token"]
    assert [run for page in pages for run in page] == runs
    assert len(pages) > 1


async def test_a_snapshot_holds_what_fits_and_a_deployment_that_does_not_is_refused(
    api: httpx.AsyncClient, sessions: SessionFactory
) -> None:
    description = "x" * (MAX_SIGNATURE_BYTES - 1000)
    columns = [{"name": "a", "type": "double", "required": True, "description": description}]
    async with transaction(sessions) as session:
        signature = {"inputs": columns, "outputs": [], "params": []}
        await add_version(session, signature=signature)
    fitting = MAX_SNAPSHOT_BYTES // MAX_SIGNATURE_BYTES
    for number in range(fitting):
        applied = await api.put(f"/api/v1/deployments/d{number:02}", json={"model": "adult-income:1"})
        assert applied.status_code in {200, 201}, applied.text
    refused = await api.put("/api/v1/deployments/one-more", json={"model": "adult-income:1"})
    assert (refused.status_code, refused.json()["code"]) == (409, "signatures_too_large")
    snapshot = await api.get("/api/v1/serving/snapshot")
    assert len(snapshot.content) < MAX_SNAPSHOT_BYTES + _SLACK_BYTES
    assert (len(snapshot.json()["deployments"]), snapshot.json()["unresolved"]) == (fitting, [])
    async with transaction(sessions) as session:
        cut = await deployments.resolved(session, 1000, 3 * MAX_SIGNATURE_BYTES)
    assert ([row[0].name for row in cut.items], cut.more) == (["d00", "d01", "d02"], True)


async def test_a_model_whose_signature_is_beyond_the_limit_is_not_registered(sessions: SessionFactory) -> None:
    with pytest.raises(TooLarge) as raised:
        async with transaction(sessions) as session:
            await add_version(session, classes=["x" * MAX_SIGNATURE_BYTES])
    assert raised.value.code == "signature_too_large"


async def test_a_model_has_so_many_aliases_and_those_it_had_are_not_listed(
    api: httpx.AsyncClient, sessions: SessionFactory
) -> None:
    async with transaction(sessions) as session:
        await add_version(session)
    aliases = "/api/v1/models/adult-income/aliases"
    for number in range(MAX_ALIASES):
        assert (await api.put(f"{aliases}/a{number}", json={"version": 1})).status_code == 200
    full = await api.put(f"{aliases}/another", json={"version": 1})
    assert (full.status_code, full.json()["code"]) == (409, "too_many_aliases")
    assert (await api.delete(f"{aliases}/a0")).status_code == 200
    assert (await api.put(f"{aliases}/another", json={"version": 1})).status_code == 200
    listed = {event["alias"] for event in (await api.get(aliases)).json()["aliases"]}
    assert listed == {f"a{number}" for number in range(1, MAX_ALIASES)} | {"another", "challenger"}


async def test_of_all_truths_told_of_one_moment_only_those_asked_for_are_read(sessions: SessionFactory) -> None:
    [made] = await add_predictions(sessions, [Predicted({"prediction": 1})])
    moment = utc_now()
    async with transaction(sessions) as session:
        many = text("""
            INSERT INTO feedback (prediction_id, truth, observed_at, principal)
            SELECT :id, to_jsonb(n), :at, 'key_0' FROM generate_series(1, 500) AS n
        """)
        await session.execute(many, {"id": made, "at": moment})
        found = await feedback.known_of(session, [(made, 7.0, moment), (made, "7", moment), (made, 501, moment)])
    assert [truth for _, truth, _ in found] == [7]


async def test_large_outputs_of_labelled_and_of_all_predictions_are_read_page_by_page(sessions: SessionFactory) -> None:
    await deployed(sessions, "adult-income")
    now = utc_now()
    sizes = [PAGE_BYTES // 3, PAGE_BYTES // 3, PAGE_BYTES // 2, PAGE_BYTES + 10, 100, 100]
    rows = [
        Predicted({"prediction": "x" * size}, now - timedelta(days=1 - number // 3, minutes=6 - number))
        for number, size in enumerate(sizes)
    ]
    made = await add_predictions(sessions, rows)
    await tell(sessions, dict.fromkeys(made[:2], ">50K"))
    window = LedgerWindow("adult-income", now - timedelta(days=2), now)
    by_id: list[list[Any]] = []
    more = True
    while more:
        asked = [id_ for id_ in made if not by_id or id_ > by_id[-1][-1].prediction_id]
        async with transaction(sessions) as session:
            cut = await predictions.read_ids(session, window, [*asked, "prd_" + "f" * 32], 0.0, 1.0)
        by_id.append(cut.items)
        more = cut.more and len(asked) > len(cut.items)
    assert [[made.index(row.prediction_id) for row in page] for page in by_id] == [[0, 1, 2], [3], [4, 5]]
    in_time: list[list[int]] = []
    after = None
    while not in_time or in_time[-1]:
        async with transaction(sessions) as session:
            cut = await predictions.read_window(session, window, Sampling(after, 100))
        in_time.append([made.index(row.prediction_id) for row in cut.items])
        after = (cut.items[-1].predicted_at, cut.items[-1].prediction_id) if cut.items else None
    assert in_time == [[0, 1, 2], [3], [4, 5], []]
