"""The write-ahead ledger on a real disk, and its way into PostgreSQL."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.conftest import RunJobs
from tidemill.db.engine import SessionFactory, transaction
from tidemill.features.predictions import tasks
from tidemill.jobs import service as jobs
from tidemill.kit import ids
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Conflict, Invalid, TooLarge, Unavailable
from tidemill.model_server.disk import StateDirectory
from tidemill.model_server.ledger.lines import encode, read_content
from tidemill.model_server.ledger.segments import SegmentFolder
from tidemill.model_server.ledger.shipper import Shipper
from tidemill.model_server.ledger.writer import LedgerLimits, LedgerWriter
from tidemill.model_server.recording import prediction_ids
from tidemill.schemas.serving import SegmentReceipt


@pytest.fixture
def folder(tmp_path: Path) -> SegmentFolder:
    return SegmentFolder(tmp_path / "ledger")


@pytest.fixture
async def writer(folder: SegmentFolder) -> AsyncIterator[LedgerWriter]:
    writer = LedgerWriter(folder, LedgerLimits(max_bytes=100_000, segment_bytes=2_000))
    yield writer
    await asyncio.to_thread(writer.close)


class Receiver:
    """Takes segments as the api does; refuses what it is told to."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.failure: Exception | None = None
        self.poison: set[int] = set()

    async def __call__(self, content: bytes) -> SegmentReceipt:
        if self.failure is not None:
            raise self.failure
        rows = [json.loads(line) for line in content.splitlines()]
        if self.poison & {row["n"] for row in rows}:
            raise Invalid("segment_poisoned", "No.")
        self.rows += rows
        return SegmentReceipt(received=len(rows), stored=len(rows), duplicates=0, rejected=[])


def line(number: int) -> bytes:
    return encode(json.dumps({"n": number, "pad": "x" * 50}).encode())


async def append_many(writer: LedgerWriter, count: int) -> None:
    await asyncio.gather(*(writer.append(line(number)) for number in range(count)))


async def test_rows_of_concurrent_requests_are_on_disk_before_they_are_answered(
    writer: LedgerWriter, folder: SegmentFolder
) -> None:
    await append_many(writer, 200)
    contents = [read_content(folder.path(number).read_bytes()) for number in folder.numbers()]
    assert sorted(json.loads(row)["n"] for found in contents for row in found.payloads) == list(range(200))
    assert writer.waiting_bytes == folder.size_bytes()


async def test_segments_are_shipped_in_order_and_deleted_only_when_committed(
    writer: LedgerWriter, folder: SegmentFolder
) -> None:
    receiver = Receiver()
    shipper = Shipper(folder, writer, receiver, 0.01)
    for start in range(0, 300, 50):
        await asyncio.gather(*(writer.append(line(number)) for number in range(start, start + 50)))
    receiver.failure = Unavailable("api_unavailable", "Away.")
    with pytest.raises(Unavailable):
        await shipper.ship_waiting()
    assert len(folder.numbers()) >= 6
    receiver.failure = None
    await shipper.ship_waiting()
    assert [row["n"] // 50 for row in receiver.rows] == [number // 50 for number in range(300)]
    assert (folder.numbers(), writer.waiting_bytes) == ([], 0)


async def test_a_full_ledger_refuses_and_recovers_when_it_was_shipped(
    writer: LedgerWriter, folder: SegmentFolder
) -> None:
    while not writer.is_full:
        await writer.append(line(1) * 100)
    with pytest.raises(Unavailable) as full:
        await writer.append(line(2))
    assert full.value.code == "ledger_full"
    await Shipper(folder, writer, Receiver(), 0.01).ship_waiting()
    await writer.append(line(1))


async def test_a_disk_that_fails_refuses_the_rows_and_leaves_no_half_line(
    writer: LedgerWriter, folder: SegmentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writer.append(line(1))
    real_write = os.write

    def half_write(descriptor: int, data: Any) -> int:
        if len(data) < 40:
            raise OSError(28, "No space left on device")
        return real_write(descriptor, bytes(data)[:30])

    monkeypatch.setattr(os, "write", half_write)
    with pytest.raises(Unavailable) as refused:
        await writer.append(line(2))
    assert refused.value.code == "ledger_unavailable"
    monkeypatch.undo()
    await writer.append(line(3))
    contents = [read_content(folder.path(number).read_bytes()) for number in folder.numbers()]
    assert [json.loads(row)["n"] for found in contents for row in found.payloads] == [1, 3]
    assert [found.torn_bytes for found in contents if found.torn_bytes] == []


async def test_what_an_earlier_process_left_is_shipped_and_its_torn_end_is_cut(folder: SegmentFolder) -> None:
    folder.path(7).write_bytes(line(1) + line(2) + line(3)[:-5])
    writer = LedgerWriter(folder, LedgerLimits(max_bytes=100_000))
    receiver = Receiver()
    await writer.append(line(4))
    await Shipper(folder, writer, receiver, 0.01).ship_waiting()
    await asyncio.to_thread(writer.close)
    assert [row["n"] for row in receiver.rows] == [1, 2, 4]
    assert folder.numbers() == []


async def test_rows_that_can_never_be_stored_are_set_aside_and_block_nothing(
    writer: LedgerWriter, folder: SegmentFolder
) -> None:
    receiver = Receiver()
    receiver.poison = {3, 17}
    shipper = Shipper(folder, writer, receiver, 0.01)
    await append_many(writer, 20)
    await shipper.ship_waiting()
    assert sorted(row["n"] for row in receiver.rows) == [n for n in range(20) if n not in (3, 17)]
    kept = [json.loads(row)["n"] for file in folder.rejected.glob("*.ndjson") for row in file.read_text().splitlines()]
    assert sorted(kept) == [3, 17]
    assert (shipper.rejected_rows, folder.rejected_rows(), folder.numbers()) == (2, 2, [])


async def test_an_answer_that_is_not_the_apis_own_refusal_sets_nothing_aside(
    writer: LedgerWriter, folder: SegmentFolder
) -> None:
    receiver = Receiver()
    shipper = Shipper(folder, writer, receiver, 0.01)
    await append_many(writer, 5)
    receiver.failure = Invalid("http_error", "A proxy said 400.")
    with pytest.raises(Invalid):
        await shipper.ship_waiting()
    receiver.failure = TooLarge("body_too_large", "Too large.")
    await shipper.ship_waiting()
    assert shipper.rejected_rows == 5


@pytest.mark.parametrize(
    ("rejected", "changes"),
    [
        ([0], {}),
        ([-1], {}),
        ([6], {}),
        ([10**30], {}),
        ([2, 2], {}),
        ([], {"received": 4}),
        ([], {"received": 6, "stored": 6}),
        ([], {"stored": 4}),
        ([], {"stored": -1, "duplicates": 6}),
        ([1, 2, 3, 4, 5, 6], {"stored": -1}),
    ],
)
async def test_a_receipt_that_does_not_account_for_the_rows_is_not_believed(
    writer: LedgerWriter, folder: SegmentFolder, rejected: list[int], changes: dict[str, int]
) -> None:
    async def misleading(_content: bytes) -> SegmentReceipt:
        counts = {"received": 5, "stored": 5 - len(rejected), "duplicates": 0} | changes
        named = [{"line": line, "code": "ledger_row_invalid", "detail": ""} for line in rejected]
        return SegmentReceipt.model_validate(counts | {"rejected": named})

    await append_many(writer, 5)
    with pytest.raises(Unavailable) as refused:
        await Shipper(folder, writer, misleading, 0.01).ship_waiting()
    assert refused.value.code == "api_receipt_wrong"
    receiver = Receiver()
    await Shipper(folder, writer, receiver, 0.01).ship_waiting()
    assert [row["n"] for row in receiver.rows] == list(range(5))
    assert folder.set_aside.totals().rows == 0


async def _set_aside(folder: SegmentFolder, *numbers: int) -> list[str]:
    """Each row under a name of its own."""
    names = []
    for number in numbers:
        folder.set_aside.keep([json.dumps({"n": number}).encode()], {"value_invalid": 1})
        names += [entry.name for entry in folder.set_aside.entries() if entry.name not in names]
    return names


async def test_rows_put_back_while_others_of_their_name_are_shipped_are_shipped_next(
    writer: LedgerWriter, folder: SegmentFolder
) -> None:
    receiver = Receiver()
    (name,) = await _set_aside(folder, 1)
    folder.set_aside.retry(name)

    async def meanwhile(content: bytes) -> SegmentReceipt:
        receipt = await receiver(content)
        if len(receiver.rows) == 1:
            await _set_aside(folder, 1)
            folder.set_aside.retry(name, b'{"n": 2}')
        return receipt

    shipper = Shipper(folder, writer, meanwhile, 0.01)
    await shipper.ship_waiting()
    assert shipper.aside.retry_rows == 1
    await shipper.ship_waiting()
    assert [row["n"] for row in receiver.rows] == [1, 2]
    assert shipper.aside.size_bytes == 0


async def test_rows_that_wait_to_be_shipped_again_count_within_the_budget_and_have_an_age(
    writer: LedgerWriter, folder: SegmentFolder
) -> None:
    (name,) = await _set_aside(folder, 1)
    folder.set_aside.retry(name)
    writer.count_aside()
    assert writer.aside_bytes >= 4096
    assert folder.oldest_written_at() is not None
    folder.set_aside.keep([b"x" * 100_000], {"value_invalid": 1})
    for entry in list(folder.set_aside.entries()):
        if entry.size_bytes >= 100_000:
            folder.set_aside.retry(entry.name)
    writer.count_aside()
    with pytest.raises(Unavailable) as full:
        await writer.append(line(1))
    assert full.value.code == "ledger_full"


async def test_a_file_that_cannot_be_read_holds_up_no_other(
    writer: LedgerWriter, folder: SegmentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = Receiver()
    for name in await _set_aside(folder, 1, 2, 3):
        folder.set_aside.retry(name)
    first = folder.set_aside.waiting_again()[0]
    for number in (10, 11):
        await writer.append(line(number))
        await writer.rotate()

    def read(path: Path) -> bytes:
        if path in (first, folder.path(1)):
            raise OSError(5, "Input/output error")
        return path.read_bytes()

    monkeypatch.setattr("tidemill.model_server.ledger.shipper.read_plain", read)
    shipper = Shipper(folder, writer, receiver, 0.01)
    with pytest.raises(OSError, match="Input/output"):
        await shipper.ship_waiting()
    assert [row["n"] for row in receiver.rows] == [11, 2, 3]
    assert (folder.set_aside.waiting_again(), folder.numbers(), shipper.aside.retry_rows) == ([first], [1], 1)
    monkeypatch.undo()
    await shipper.ship_waiting()
    assert sorted(row["n"] for row in receiver.rows) == [1, 2, 3, 10, 11]


async def test_a_file_too_large_to_be_ours_is_moved_aside_and_the_others_are_shipped(folder: SegmentFolder) -> None:
    folder.path(1).touch()
    os.truncate(folder.path(1), 2**40)
    (folder.rejected / f"{'a' * 32}.retry").touch()
    os.truncate(folder.rejected / f"{'a' * 32}.retry", 2**31)
    writer = LedgerWriter(folder, LedgerLimits(max_bytes=2**41))
    await writer.append(line(1))
    receiver = Receiver()
    await Shipper(folder, writer, receiver, 0.01).ship_waiting()
    assert ([row["n"] for row in receiver.rows], folder.numbers(), writer.waiting_bytes) == ([1], [], 0)
    assert folder.quarantine.held().files == 2
    await asyncio.to_thread(writer.close)


async def test_the_segment_after_the_last_number_is_shipped_like_any_other(folder: SegmentFolder) -> None:
    folder.path(10**16 - 1).write_bytes(line(1))
    writer = LedgerWriter(folder, LedgerLimits(max_bytes=100_000))
    await writer.append(line(2))
    receiver = Receiver()
    await Shipper(folder, writer, receiver, 0.01).ship_waiting()
    await asyncio.to_thread(writer.close)
    assert sorted(row["n"] for row in receiver.rows) == [1, 2]
    assert (folder.numbers(), folder.quarantine.held().files) == ([], 0)


async def test_a_segment_that_vanishes_under_a_server_is_counted_at_once_and_waits_no_longer(
    writer: LedgerWriter, folder: SegmentFolder
) -> None:
    await append_many(writer, 5)
    await writer.rotate()
    folder.path(1).unlink()
    shipper = Shipper(folder, writer, Receiver(), 0.01)
    await shipper.ship_waiting()
    assert (shipper.aside.lost_rows, writer.waiting_bytes) == (0, 0)
    await shipper.ship_waiting()
    assert shipper.aside.lost_rows == 5


def _delete(folder: SegmentFolder) -> None:
    for path in folder.folder.glob("*.*"):
        path.unlink()


def _rename(folder: SegmentFolder) -> None:
    folder.path(max(folder.numbers())).rename(folder.path(9_000))


def _replace(folder: SegmentFolder) -> None:
    path = folder.path(max(folder.numbers()))
    path.unlink()
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [_delete, _rename, _replace], ids=lambda harm: harm.__name__.strip("_"))
@pytest.mark.parametrize("noticed_by", ["the next rows", "the shipper"])
async def test_rows_of_the_open_segment_outlive_whatever_is_done_to_its_name(
    writer: LedgerWriter, folder: SegmentFolder, harm: Callable[[SegmentFolder], None], noticed_by: str
) -> None:
    receiver = Receiver()
    shipper = Shipper(folder, writer, receiver, 0.01)
    await writer.append(line(1))
    await writer.append(line(2))
    harm(folder)
    if noticed_by == "the next rows":
        with pytest.raises(Unavailable):  # which are not answered, and written by nobody
            await writer.append(line(3))
    await shipper.ship_waiting()
    await writer.append(line(4))
    await shipper.ship_waiting()
    assert {row["n"] for row in receiver.rows} == {1, 2, 4}
    assert shipper.aside.lost_rows == 0
    assert folder.numbers() == []


async def test_rows_of_a_folder_that_is_away_wait_and_are_shipped_once_it_is_back(
    writer: LedgerWriter, folder: SegmentFolder
) -> None:
    receiver = Receiver()
    shipper = Shipper(folder, writer, receiver, 0.01)
    await writer.append(line(1))
    away = folder.folder.rename(folder.folder.with_name("away"))
    for _ in range(2):
        with pytest.raises(Unavailable):
            await writer.append(line(2))
        assert not writer.is_writable()
    assert writer.waiting_bytes >= len(line(1))
    away.rename(folder.folder)
    await writer.append(line(3))
    await shipper.ship_waiting()
    assert {row["n"] for row in receiver.rows} == {1, 3}
    assert (shipper.aside.lost_rows, writer.waiting_bytes) == (0, 0)


def test_a_state_directory_belongs_to_one_server(tmp_path: Path) -> None:
    first = StateDirectory(tmp_path / "state")
    with pytest.raises(Conflict):
        StateDirectory(tmp_path / "state")
    first.close()
    second = StateDirectory(tmp_path / "state")
    assert second.server_id() == second.server_id()
    second.close()


def ledger_row(**changes: Any) -> dict[str, Any]:
    (prediction_id,), moment = prediction_ids(1)
    row = {
        "prediction_id": prediction_id, "predicted_at": moment.isoformat(), "deployment": "d", "model_name": "m",
        "model_version": 1, "request_id": None, "principal": "key_1", "inputs": {"x": 1}, "output": {"prediction": 2},
    }  # fmt: skip
    return row | changes


async def ship(api: httpx.AsyncClient, *lines: bytes | dict[str, Any]) -> SegmentReceipt:
    content = b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in lines)
    answer = await api.post(
        "/api/v1/ledger/segments", content=content, headers={"Content-Type": "application/x-ndjson"}
    )
    assert answer.status_code == 200, answer.text
    return SegmentReceipt.model_validate(answer.json())


async def test_a_segment_shipped_twice_is_stored_once_with_every_digit(api: httpx.AsyncClient) -> None:
    inputs = '{"big": 123456789012345678901234567890, "text": "a\\u0000b", "x": 0.30000000000000004}'
    first, second = ledger_row(), ledger_row()
    raw = json.dumps(first).replace('{"x": 1}', inputs).encode()
    receipt = await ship(api, raw, second)
    assert (receipt.received, receipt.stored, receipt.duplicates, receipt.rejected) == (2, 2, 0, [])
    again = await ship(api, raw, second, second)
    assert (again.stored, again.duplicates) == (0, 3)
    kept = (await api.get(f"/api/v1/predictions/{first['prediction_id']}")).json()
    assert kept["inputs"] == json.loads(inputs)


async def test_bad_lines_are_named_and_the_others_are_stored(api: httpx.AsyncClient) -> None:
    future = utc_now() + timedelta(days=30)
    far = f"prd_{int(future.timestamp() * 1000):012x}7{'0' * 19}"
    deep = '{"a":' * 900 + "1" + "}" * 900
    receipt = await ship(
        api,
        b"not json",
        ledger_row(),
        ledger_row(prediction_id="prd_1"),
        ledger_row(predicted_at="2026-01-01T00:00:00Z"),
        ledger_row(prediction_id=far, predicted_at=ids.created_at(far).isoformat()),
        ledger_row(deployment="No Name"),
        ledger_row(model_version=True),
        ledger_row(request_id="x\x00"),
        json.dumps(ledger_row()).replace('{"x": 1}', deep).encode(),
        *(
            json.dumps(ledger_row()).replace("1}", "[" * depth + "1" + "]" * depth + "}").encode()
            for depth in (1010, 1022, 3000)  # read, but not written; read just so; not read
        ),
    )
    assert [row.line for row in receipt.rejected] == [1, 3, 4, 5, 6, 7, 8, 10, 11, 12]
    assert receipt.stored == 2
    empty = await api.post("/api/v1/ledger/segments", content=b"", headers={"Content-Type": "application/x-ndjson"})
    assert (empty.status_code, empty.json()["code"]) == (422, "segment_empty")


async def test_rows_of_other_days_get_their_partitions(api: httpx.AsyncClient) -> None:
    rows = []
    for days in (1, 40):
        moment = utc_now() - timedelta(days=days)
        id_ = f"prd_{int(moment.timestamp() * 1000):012x}7{'1' * 19}"
        rows.append(ledger_row(prediction_id=id_, predicted_at=ids.created_at(id_).isoformat()))
    assert (await ship(api, *rows)).stored == 2
    listed = await api.get(
        "/api/v1/predictions", params={"deployment": "d", "from": (utc_now() - timedelta(days=50)).isoformat()}
    )
    assert [row["prediction_id"] for row in listed.json()["items"]] == [row["prediction_id"] for row in rows]


async def test_two_segments_at_once_make_one_partition(api: httpx.AsyncClient) -> None:
    receipts = await asyncio.gather(*(ship(api, ledger_row()) for _ in range(8)))
    assert [receipt.stored for receipt in receipts] == [1] * 8


async def test_partitions_are_made_ahead_by_a_job(
    api: httpx.AsyncClient, sessions: SessionFactory, run_jobs: RunJobs
) -> None:
    for _ in range(2):
        async with transaction(sessions) as session:
            await jobs.enqueue(session, tasks.PARTITIONS, tasks.PartitionsPayload(), jobs.JobRequest("tests"))
        await run_jobs()
    made = [job["result"]["partitions_made"] for job in (await api.get("/api/v1/jobs")).json()["items"]]
    assert sorted(made) == [0, 4]
