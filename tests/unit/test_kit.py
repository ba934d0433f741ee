"""The building blocks of `kit`."""

import asyncio
import contextlib
import json
import logging
import time
from datetime import UTC, datetime, timedelta

import pytest

from tidemill.kit import ids
from tidemill.kit.durations import parse_duration_seconds
from tidemill.kit.errors import KINDS, Invalid, Problem, Refused, TooLarge, from_record, to_record
from tidemill.kit.hashing import sha256_of_json
from tidemill.kit.logging import JsonFormatter, request_id_bound
from tidemill.kit.names import split_model_reference
from tidemill.kit.sizes import format_size
from tidemill.kit.tasks import end_tasks


def test_ids_made_one_after_the_other_sort_so() -> None:
    made = []
    for _ in range(200):
        made.append(ids.new_id(ids.JOB))
        until = time.perf_counter_ns() + 1_000  # the clock of an id tells 244 nanoseconds apart
        while time.perf_counter_ns() < until:
            pass
    assert made == sorted(made)


def test_ids_sort_by_creation_and_carry_their_time() -> None:
    before = datetime.now(UTC)
    first, second = ids.new_id(ids.JOB), None
    after = datetime.now(UTC)
    while second is None or ids.created_at(second) == ids.created_at(first):
        second = ids.new_id(ids.JOB)
    assert first < second
    assert ids.is_id(first, ids.JOB)
    assert not ids.is_id(first, ids.DATASET)
    a_millisecond = timedelta(milliseconds=1)
    assert before - a_millisecond <= ids.created_at(first) <= after + a_millisecond
    uuid = ids.uuid7()
    assert (uuid.version, uuid.variant) == (7, "specified in RFC 4122")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("2m", 120), ("1h30m", 5400), ("1.5h", 5400), ("7d", 604800)]
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-5s", "5 minutes", "1h 30m", "1e3"])
def test_a_duration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_duration_seconds(text)


def test_sizes_are_written_as_people_read_them() -> None:
    assert [format_size(size) for size in (0, 1023, 1536, 3 * 2**40)] == ["0 B", "1023 B", "1.5 KiB", "3.0 TiB"]


def test_equal_json_values_have_equal_addresses() -> None:
    assert sha256_of_json({"a": 1, "b": [2]}) == sha256_of_json({"b": [2], "a": 1})
    with pytest.raises(ValueError, match="Out of range"):
        sha256_of_json({"a": float("nan")})


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("adult-income", ("adult-income", None, None)),
        ("adult-income@champion", ("adult-income", "champion", None)),
        ("adult-income:3", ("adult-income", None, 3)),
        ("Adult", None),
        ("a:0", None),
        ("a@b:1", None),
    ],
)
def test_model_references_are_split(text: str, parts: tuple[str, str | None, int | None] | None) -> None:
    assert split_model_reference(text) == parts


def test_errors_cross_a_process_boundary_unchanged() -> None:
    for kind in KINDS.values():
        error = kind("some_code", "Some detail.", [Problem("row 3", "bad", "Bad.")])
        again = from_record(json.loads(json.dumps(to_record(error))))
        assert type(again) is kind
        assert (again.code, again.detail, again.problems) == (error.code, error.detail, error.problems)
    assert issubclass(TooLarge, Invalid)
    assert Refused.title == "Refused"


def test_log_lines_are_json_with_the_request_id_and_no_unlisted_fields() -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "Done %d", (3,), None)
    record.job_id, record.payload = "job_1", "secret"
    with request_id_bound("req-1"):
        line = json.loads(JsonFormatter("api", "test").format(record))
    assert (line["msg"], line["request_id"], line["job_id"], line["service"]) == ("Done 3", "req-1", "job_1", "api")
    assert "payload" not in line


def test_nobody_s_words_can_end_a_log_line_or_give_orders_to_a_terminal() -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "A model printed", (), None)
    record.printed = 'a\r\n{"level": "critical"}\x1b[2J\x7f\x85\x9b31m\u2028\u2029\u202e\ud800 ä\\u'
    line = JsonFormatter("model-server", "test").format(record)
    assert len(line.splitlines()) == 1
    assert all(letter.isprintable() for letter in line)
    assert json.loads(line)["printed"] == record.printed
    line.encode()


async def test_a_loop_that_takes_its_cancellation_for_a_failed_round_is_ended_all_the_same() -> None:
    rounds = 0

    async def loop_that_outlives_errors() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            with contextlib.suppress(AttributeError):
                await round_of_a_driver()

    async def round_of_a_driver() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if rounds == 1:
                raise AttributeError from None
            raise

    looping, finished = asyncio.create_task(loop_that_outlives_errors()), asyncio.create_task(asyncio.sleep(0, "done"))
    await finished
    cancelled, result = await end_tasks(looping, finished)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert (result, rounds) == ("done", 2)
