"""Feedback from files that stream in."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import zstandard
from sqlalchemy import text

from tests.integration.feedback.conftest import Ledger
from tests.integration.ledger_rows import id_at
from tidemill.db.engine import SessionFactory
from tidemill.deps.uploads import Uploads
from tidemill.kit.clock import utc_now

URL = "/api/v1/feedback/files"
CSV = {"content-type": "text/csv"}
NDJSON = {"content-type": "application/x-ndjson"}


async def _truths(sessions: SessionFactory) -> list[object]:
    async with sessions() as session:
        return list((await session.execute(text("SELECT truth FROM feedback ORDER BY seq"))).scalars())


async def test_cells_of_csv_become_what_the_model_predicts(
    api: httpx.AsyncClient, ledger: Ledger, sessions: SessionFactory
) -> None:
    lines = ["id;note;income", f'{ledger.binary[0]};"a;\nb";>50K', f"{ledger.regression[0]};x;12.0"]
    lines += [f"{ledger.integers[0]};x;2", f"{ledger.binary[1]};x;", ""]
    params = {"id_column": "id", "truth_column": "income"}
    content = "\r\n".join(lines).encode("utf-8-sig")
    answer = await api.post(URL, params=params, content=content, headers=CSV)
    assert answer.status_code == 200, answer.text
    counts = answer.json()
    assert (counts["received"], counts["accepted"], counts["skipped"]) == (4, 3, 1)
    assert await _truths(sessions) == [">50K", 12.0, 2]
    again = (await api.post(URL, params=params, content=content, headers=CSV)).json()
    assert (again["accepted"], again["duplicates"]) == (0, 3)


async def test_ndjson_keeps_its_types_and_times(
    api: httpx.AsyncClient, ledger: Ledger, sessions: SessionFactory
) -> None:
    rows = [
        {"prediction_id": ledger.integers[0], "truth": 2, "seen": "2026-01-02T03:04:05Z"},
        {"prediction_id": ledger.regression[0], "truth": None},
        {"prediction_id": ledger.regression[1], "truth": 7.5, "seen": None},
    ]
    content = "\n".join(map(json.dumps, rows)).encode()
    answer = await api.post(URL, params={"observed_at_column": "seen"}, content=content, headers=NDJSON)
    assert (answer.json()["accepted"], answer.json()["skipped"]) == (2, 1)
    async with sessions() as session:
        found = await session.scalar(text("SELECT min(observed_at) FROM feedback"))
    assert found.isoformat() == "2026-01-02T03:04:05+00:00"


async def test_a_text_stored_before_its_model_is_known_is_no_revision_of_itself(
    api: httpx.AsyncClient, sessions: SessionFactory, ledger: Ledger
) -> None:
    unknown = id_at(utc_now())
    content = f"prediction_id,truth\n{unknown},1\n".encode()
    assert (await api.post(URL, content=content, headers=CSV)).json()["unmatched"] == 1
    async with sessions() as session, session.begin():
        moved = text("UPDATE predictions SET prediction_id = :new WHERE prediction_id = :old")
        await session.execute(moved, {"new": unknown, "old": ledger.integers[0]})
    again = (await api.post(URL, content=content, headers=CSV)).json()
    assert (again["duplicates"], again["revisions"], again["unmatched"]) == (1, 0, 0)


async def test_faults_are_named_by_row_and_column_and_earlier_batches_stay(
    api: httpx.AsyncClient, ledger: Ledger, sessions: SessionFactory
) -> None:
    many = [f"{id_at(utc_now())},secret" for _ in range(5_000)]
    bad = ["prd_17,secret", f"{ledger.binary[0]},secret,1", f"{ledger.binary[0]},secret"]
    content = "\n".join(["prediction_id,truth", *many, *bad[:2]]).encode()
    answer = await api.post(URL, content=content, headers=CSV)
    problems = [(problem["pointer"], problem["code"]) for problem in answer.json()["errors"]]
    assert answer.status_code == 422
    assert problems == [("row 5002, column prediction_id", "prediction_id_invalid"), ("row 5003", "row_ragged")]
    assert "5000 rows before" in answer.json()["detail"]
    assert len(await _truths(sessions)) == 5_000
    content = "\n".join(["prediction_id,truth", bad[2]]).encode()
    answer = await api.post(URL, content=content, headers=CSV)
    assert answer.json()["errors"][0]["pointer"] == "row 2, column truth"
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"", CSV, 422, "file_empty"),
        (b"a,b\n", CSV, 422, "column_missing"),
        (b"prediction_id,truth,truth\n", CSV, 422, "column_name_duplicate"),
        (b"\x89PNG\xff\xfe\n\x00\x01\x02\x03", CSV, 415, "format_unsupported"),
        (b"prediction_id,truth\n" + b'"never closed\n' * 3, CSV, 422, "quote_misplaced"),
        (b'prediction_id,truth\na,b\n"never closed\n', CSV, 422, "quote_open"),
        (b"\x1f\x8b\x08damaged", CSV, 422, "file_damaged"),
        (b"[1]\n", NDJSON, 422, "feedback_invalid"),
        (b"{}\n", NDJSON, 422, "feedback_invalid"),
        (b"x" * (17 << 20), NDJSON, 413, "row_too_long"),
        (b"[" + b"[]," * 1_000_000, NDJSON, 413, "feedback_row_too_long"),
        (b"prediction_id,truth\n", {"content-type": "image/png"}, 415, "feedback_type_unsupported"),
    ],
)
async def test_unreadable_files_get_a_clear_answer(
    api: httpx.AsyncClient, content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await api.post(URL, content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_header_alone_is_no_error(api: httpx.AsyncClient) -> None:
    assert (await api.post(URL, content=b"prediction_id,truth\n", headers=CSV)).json()["received"] == 0


async def test_rows_arrive_whole_however_the_bytes_are_cut(
    api: httpx.AsyncClient, ledger: Ledger, sessions: SessionFactory
) -> None:
    content = f"prediction_id,note,truth\n{ledger.binary[0]},\u20ac\U0001f600,>50K\n".encode()

    async def bytewise() -> AsyncIterator[bytes]:
        for place in range(len(content)):
            yield content[place : place + 1]

    assert (await api.post(URL, content=bytewise(), headers=CSV)).json()["accepted"] == 1


async def test_a_quote_left_open_swallows_no_row(
    api: httpx.AsyncClient, ledger: Ledger, sessions: SessionFactory
) -> None:
    notes = ["fine", '"left open', 'closed" here']
    lines = [f"{id_},>50K,{note}" for id_, note in zip(ledger.binary, notes, strict=False)]
    answer = await api.post(URL, content="\n".join(["prediction_id,truth,note", *lines]).encode(), headers=CSV)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "row 3")
    assert answer.json()["detail"].endswith("Nothing was stored.")
    assert await _truths(sessions) == []


@pytest.mark.parametrize(
    ("note", "change"),
    [
        ("plain", lambda text: text.replace("\n", "\r").encode()),
        ('27" inch', str.encode),
        ('"a \\"b\\" c"', str.encode),
        ("l" * 1_000_000, str.encode),
        ("gr\u00fcn", lambda text: text.encode("utf-16")),
        ("plain", lambda text: gzip.compress(text.encode())),
        ("plain", lambda text: zstandard.compress(text.encode())),
    ],
    ids=["cr", "inch", "backslash", "long", "utf-16", "gzip", "zstd"],
)
async def test_files_that_datasets_are_made_of_are_read(
    api: httpx.AsyncClient, ledger: Ledger, note: str, change: Callable[[str], bytes]
) -> None:
    lines = [f"{id_},{note},>50K" for id_ in ledger.binary]
    content = change("\n".join(["prediction_id,note,truth", *lines]) + "\n")
    answer = await api.post(URL, content=content, headers=CSV)
    assert (answer.status_code, answer.json().get("accepted")) == (200, 4), answer.text
    assert answer.json()["warnings"] == []


async def test_an_encoding_is_named_or_its_guess_is_told(api: httpx.AsyncClient, ledger: Ledger) -> None:
    content = f"prediction_id,note,truth\n{ledger.binary[0]},gr\u00fcn,>50K\n".encode("cp1252")
    guessed = (await api.post(URL, content=content, headers=CSV)).json()
    assert ["cp1252" in sentence for sentence in guessed["warnings"]] == [True]
    named = await api.post(URL, content=content, headers={"content-type": "text/csv; charset=cp1252"})
    assert (named.json()["duplicates"], named.json()["warnings"]) == (1, [])
    unknown = await api.post(URL, content=content, headers={"content-type": "text/csv; charset=rot13"})
    assert (unknown.status_code, unknown.json()["code"]) == (415, "encoding_unknown")


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:00:00-05:00"])
async def test_a_moment_that_no_calendar_has_is_refused(api: httpx.AsyncClient, ledger: Ledger, moment: str) -> None:
    content = f"prediction_id,truth,at\n{ledger.binary[0]},>50K,{moment}\n".encode()
    answer = await api.post(URL, params={"observed_at_column": "at"}, content=content, headers=CSV)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "time_invalid")
    item = {"prediction_id": ledger.binary[0], "truth": ">50K", "observed_at": moment}
    assert (await api.post("/api/v1/feedback", json={"items": [item]})).status_code == 422


async def test_a_truth_beyond_floats_is_refused(api: httpx.AsyncClient, ledger: Ledger) -> None:
    content = f"prediction_id,truth\n{ledger.regression[0]},{'9' * 400}\n".encode()
    assert (await api.post(URL, content=content, headers=CSV)).json()["errors"][0]["code"] == "truth_not_number"


async def test_a_file_whose_sender_has_gone_is_read_no_further(
    api: httpx.AsyncClient, ledger: Ledger, sessions: SessionFactory
) -> None:
    """Sending it again counts nothing twice, and nobody would hear of the rest."""
    content = b"prediction_id,truth\n" + b"".join(
        b"%s,%d\n" % (ledger.regression[0].encode(), n) for n in range(12_000)
    )
    arrived = iter([{"type": "http.request", "body": content, "more_body": False}])

    async def receive() -> Any:
        return next(arrived, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        answered.append(message)

    answered: list[Any] = []
    headers = [(b"authorization", api.headers["authorization"].encode()), (b"content-type", b"text/csv")]
    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": URL,
        "raw_path": URL.encode(), "query_string": b"", "headers": headers, "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2), "state": {},
    }  # fmt: skip
    await api._transport.app(scope, receive, send)  # type: ignore[attr-defined]
    assert answered[0]["status"] == 400
    assert await _truths(sessions) == []


async def test_files_of_one_key_are_read_in_turns_and_those_of_others_beside_them() -> None:
    uploads, order = Uploads(), []

    async def parts(name: str, goes_on: asyncio.Event) -> AsyncIterator[str]:
        for part in (1, 2):
            order.append(f"{name} {part}")
            await goes_on.wait()
            yield name

    async def read(key: str, name: str, goes_on: asyncio.Event) -> None:
        with uploads.one(key, 8):
            assert [part async for part in uploads.in_turn(key, parts(name, goes_on))] == [name] * 2

    first, free = asyncio.Event(), asyncio.Event()
    free.set()
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(read("one", "first", first))
        await asyncio.sleep(0)
        group.create_task(read("one", "second", free))
        await group.create_task(read("two", "another's", free))
        assert order == ["first 1", "another's 1", "another's 2"]
        first.set()
    assert order[3:] == ["second 1", "first 2", "second 2"]


async def test_whoever_gives_up_while_a_file_is_read_or_waits_leaves_the_turn_to_the_next() -> None:
    uploads, begun = Uploads(), asyncio.Event()

    async def read(forever: bool) -> str:
        with uploads.one("one", 8):
            async with uploads.reading("one"):
                begun.set()
                await (asyncio.Event().wait() if forever else asyncio.sleep(0))
        return "read"

    async with asyncio.timeout(20):
        holder = asyncio.create_task(read(forever=True))
        await begun.wait()
        waiting = [asyncio.create_task(read(forever=False)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        holder.cancel()
        assert await asyncio.gather(*waiting[1:]) == ["read", "read"]
        with uploads.one("one", 2):
            assert not uploads._reading, "nothing is kept of a key whose files are read"
