"""What a request may take: decoding stays within its part whatever the body is, and all requests within the whole."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.serving import decoding
from tidemill.kit.errors import TooLarge, Unavailable
from tidemill.web.request_memory import RequestMemory

_OUTCOMES = {
    "json: empty lists": "request_too_large",
    "json: empty objects": "request_too_large",
    "json: many members": "request_too_large",
    "json: long keys": "ok",
    "json: wide text": "ok",
    "json: short texts": "ok",
    "json: numbers": "ok",
    "json: many rows": "ok",
    "json: marks in a text": "ok",
    "json: depth": "body_not_json",
    "json: a long number": "body_not_json",
    "json in pieces: many rows": "ok",
    "json in pieces: other columns": "ok",
    "json in pieces: cells": "ok",
    "json in pieces: empty lists": "ok",
    "json in pieces: members": "ok",
    "csv: cells": "request_too_large",
    "csv: rows": "ok",
    "csv: packed cells": "request_too_large",
    "csv: packed in frames of 0": "request_too_large",
    "csv: packed in frames of 2": "request_too_large",
    "csv: packed in frames of 8": "request_too_large",
    "csv: packed rows": "ok",
    "parquet: dictionary": "ok",
    "parquet: large dictionary": "request_too_large",
    "parquet: page of zeros": "request_too_large",
    "parquet: list of one run": "request_too_large",
    "parquet: many pages": "parquet_too_complex",
    "parquet: depth": "parquet_invalid",
    "parquet: prefixes": "parquet_encoding_unsupported",
}
_REFUSED_BYTES = 8 * decoding.MIB
"""A body that is refused is hardly looked at."""


@pytest.mark.skipif(sys.platform != "linux", reason="reads its peak from /proc")
def test_decoding_takes_no_more_than_one_request_may_have_in_any_format() -> None:
    command = [sys.executable, "-m", "tests.integration.serving.decoding"]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600, cwd=root)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert {name: outcome for name, (outcome, _) in found.items()} == _OUTCOMES
    part = decoding.MEMORY_BYTES // 2
    # What is compressed shows its size only as it is unpacked, into memory that it has claimed.
    unpacked = {name for name, (outcome, _) in found.items() if outcome == "ok" or "packed" in name}
    too_much = {
        name: peak for name, (_, peak) in found.items() if peak > (part if name in unpacked else _REFUSED_BYTES)
    }
    assert too_much == {}


def test_a_request_beyond_its_part_is_refused_for_good_and_one_without_room_for_now() -> None:
    memory = RequestMemory(100)
    first, second, third = (memory.share() for _ in range(3))
    first.take(50)
    with pytest.raises(TooLarge) as refused:
        first.take(1)
    assert refused.value.code == "request_too_large"
    second.take(40)
    with pytest.raises(Unavailable) as busy:
        third.take(20)
    assert (busy.value.code, memory.used_bytes) == ("memory_busy", 90)
    first.release()
    third.take(20)
    assert memory.used_bytes == 60
    for share in (second, third):
        share.release()
    assert memory.used_bytes == 0


def test_claims_from_many_threads_are_all_given_back_and_none_outlives_its_request() -> None:
    memory = RequestMemory(10**9)
    shares = [memory.share() for _ in range(8)]

    def work(index: int) -> None:
        for _ in range(2_000):
            shares[index % 8].take(1)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(32)))
    assert memory.used_bytes == 32 * 2_000
    for share in shares:
        share.release()
    assert memory.used_bytes == 0
    with pytest.raises(Unavailable):
        shares[0].take(1)
    assert memory.used_bytes == 0
