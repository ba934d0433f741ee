"""A body that is read in pieces gives the rows, and the refusals, that it gives when it is parsed at once."""

import json
import random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.kit.errors import Malformed, TidemillError, TooLarge
from tidemill.kit.signatures import Column
from tidemill.model_server.tables import NESTED, ColumnsTable, RecordsTable, SplitTable
from tidemill.model_server.transports.json_damage import Damage, find_damage
from tidemill.model_server.transports.json_outline import JsonOutline
from tidemill.model_server.transports.json_pieces import PIECE_BYTES, LargeJson, parse_piece
from tidemill.model_server.validation import validate

_SIGNATURE = (
    Column("age", "long", True),
    Column("hours", "double", False),
    Column("town", "string", False),
    Column("path", "Array(double)", False),
)
_ROWS = [
    {"age": 25, "hours": 20.5, "town": 'U"l\\m, [{', "unknown": [[{"deep": [1, {"a": "}"}]}]]},
    {"age": 2**63 - 1, "town": "\u00e9\U0001f600", "path": [1.5, [2, {"a": None}]]},
    {"hours": None, "age": 3.0},
]
_TABLES: dict[str, Any] = {"inputs": RecordsTable, "dataframe_split": SplitTable, "columns": ColumnsTable}


def _nothing(_size_bytes: int) -> None:
    return None


def _read(body: bytes, kind: str, piece_bytes: int | None) -> Any:
    """Columns of the signature, or the refusal and the places it names."""
    try:
        if piece_bytes is None:
            content = parse_piece(body, _nothing)
        else:
            content = LargeJson(body, _SIGNATURE, 1_000, _nothing, piece_bytes).content()
        table = _TABLES[kind](content["inputs" if kind == "columns" else kind], "/inputs")
        return validate(table, _SIGNATURE), content.get("params")
    except TidemillError as error:
        return error.code, [(problem.pointer, problem.code) for problem in getattr(error, "problems", None) or ()]


def _bodies(rows: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[row.get(name) for name in names] for row in rows]
    return [
        ("inputs", {"inputs": rows, "params": {"a": [1, {"b": "]"}]}}),
        ("dataframe_split", {"dataframe_split": {"data": cells, "columns": names}}),
        ("columns", {"params": None, "inputs": {name: [row.get(name) for row in rows] for name in names}}),
    ]


_SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text()
_VALUES = st.recursive(
    _SCALARS, lambda of: st.lists(of, max_size=3) | st.dictionaries(st.text(), of, max_size=3), max_leaves=6
)
_RANDOM_ROWS = st.lists(
    st.dictionaries(st.sampled_from(["age", "hours", "town", "path", "other"]), _VALUES), min_size=1, max_size=6
)


@settings(max_examples=25, derandomize=True, deadline=None, database=None)
@given(rows=_RANDOM_ROWS, piece_bytes=st.integers(1, 200), indent=st.sampled_from([None, 1]), is_ascii=st.booleans())
def test_rows_read_in_pieces_are_those_that_are_parsed_at_once(
    rows: list[dict[str, Any]], piece_bytes: int, indent: int | None, is_ascii: bool
) -> None:
    for kind, content in _bodies(rows) + _bodies(_ROWS):
        body = json.dumps(content, indent=indent, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
        assert _read(body, kind, piece_bytes) == _read(body, kind, None), body


_ROW = b'{"age": 1, "town": "a\\\\"}'
_DAMAGED = [
    b'{"inputs": [' + _ROW + b"," + _ROW,
    b'{"inputs": [' + _ROW + b"]",
    b'{"inputs": [' + _ROW + b",]}",
    b'{"inputs": [,' + _ROW + b"]}",
    b'{"inputs": [' + _ROW + b"," + b'{"age": 1]}}',
    b'{"inputs": [' + _ROW + b"}}",
    b'{"inputs": [' + _ROW + b"] []}",
    b'{"inputs": [' + _ROW + b" " + _ROW + b"]}",
    b'{"inputs": [' + _ROW + b"]} 1",
    b'{"inputs": [' + _ROW + b"],}",
    b'{"inputs" [' + _ROW + b"]}",
    b'{inputs: [' + _ROW + b"]}",
    b'{"inputs": ["' + _ROW + b"]}",
    b'{"inputs": [{"age": 01}]}',
    b'{"inputs": [{"age": NaN}]}',
    b'{"inputs": [{"town": "\xff"}]}',
    b'{"inputs": [{"town": "\n"}]}',
    b'{"inputs": [' + b"[" * 5_000 + b"]" * 5_000 + b"]}",
    b'{"inputs": [' + b"[" * 5_000,
    b"]" * 100,
    b"",
    b" ",
    b"\x00",
]  # fmt: skip


@pytest.mark.parametrize("body", _DAMAGED, ids=range(len(_DAMAGED)))
def test_a_damaged_body_is_refused_in_pieces_too(body: bytes) -> None:
    for piece_bytes in (1, 30, 2**16):
        assert _read(body, "inputs", piece_bytes)[0] == "body_not_json"


def _whole(body: bytes) -> None:
    parse_piece(body, _nothing)


def _in_pieces(body: bytes) -> None:
    LargeJson(body, _SIGNATURE, 99, _nothing, 60).content()


def test_the_place_of_damage_is_told_within_the_whole_body() -> None:
    rows = ",\n".join(['{"age": 1, "town": "\u00e9"}'] * 50)
    for body in (f'{{"inputs": [{rows}, {{"age" 1}}]}}', f'{{"inputs": [{rows},\n {{"age" 1}}]}}'):
        found = []
        for read in (_whole, _in_pieces):
            with pytest.raises(Malformed) as refused:
                read(body.encode())
            found.append(refused.value.detail)
        assert found[0] == found[1]


def _place(body: bytes) -> str | None:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return f"(line {error.lineno}, column {error.colno})"
    return None


def _told(body: bytes, damage: Damage) -> str:
    before = body[: damage.start].decode()
    column = damage.column + (len(before) - before.rfind("\n") - 1 if damage.line == 1 else 0)
    return f"(line {damage.line + before.count(chr(10))}, column {column})"


def _broken(chance: random.Random) -> bytes:
    """One of the bodies with something left out, added, put in another's place, or cut off."""
    content = chance.choice(_bodies(_ROWS * 3))[1]
    body = bytearray(json.dumps(content, indent=chance.choice([None, 1]), ensure_ascii=False).encode())
    at = chance.randrange(len(body))
    end = at + chance.choice([0, 1, 1, len(body)])
    body[at:end] = chance.choice([b"", b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\n", b" ", b"0", b"-"])
    return bytes(body)


def test_the_place_of_any_damage_is_the_one_that_is_told_of_a_small_body() -> None:
    chance, found = random.Random(7), 0
    for _ in range(300):
        body = _broken(chance)
        place = _place(body)
        is_text = body == body.decode(errors="replace").encode()
        if place is not None and is_text:  # of bytes that are no UTF-8 the parser says no place
            found += 1
            for piece_bytes in (1, 50):
                damage = find_damage(body, piece_bytes)
                assert damage is not None
                assert place == _told(body, damage), (body, piece_bytes)
    assert found > 100


@pytest.mark.parametrize("missing", [b'"', b"}", b"]", b":", b",", b"{"])
def test_what_is_missing_far_from_the_end_of_a_large_body_is_told_by_its_place(missing: bytes) -> None:
    rows = ",\n".join(json.dumps({"age": number, "town": "a"}) for number in range(10_000))
    body = f'{{"inputs": [{rows}], "params": null}}'.encode()
    at = body.index(missing, 100_000)
    damaged = body[:at] + body[at + 1 :]
    with pytest.raises(Malformed) as refused:
        LargeJson(damaged, _SIGNATURE, 20_000, _nothing).content()
    assert str(_place(damaged)) in refused.value.detail


def test_damage_behind_more_values_than_a_row_may_have_is_not_looked_for() -> None:
    body = b'{"inputs": [[[[' + b"1," * 300_000
    assert find_damage(body, PIECE_BYTES) is None
    with pytest.raises(Malformed):
        LargeJson(body, _SIGNATURE, 1_000, _nothing).content()


_REPEATED = [
    '{"inputs": [{"age": 1}, {"age": 1, "age": 2}]}',
    '{"inputs": [{"age": 1, "other": {"a": 1, "a": 2}}]}',
    '{"inputs": [{"age": 1}], "inputs": [{"age": 1}]}',
    '{"inputs": [{"age": 1}], "params": {"a": 1, "\\u0061": 2}}',
]


@pytest.mark.parametrize("body", _REPEATED)
def test_a_member_that_is_repeated_is_found_in_pieces_too(body: str) -> None:
    assert _read(body.encode(), "inputs", 10)[0] == _read(body.encode(), "inputs", None)[0] == "member_repeated"


def _members(count: int) -> bytes:
    return b",".join(b'"%x":1' % number for number in range(count))


_TOO_MUCH = {
    "rows": (b'{"inputs":[' + b"[]," * 300_000 + b"[]]}", "rows_too_many"),
    "data": (b'{"dataframe_split":{"columns":["age"],"data":[' + b"[1]," * 2_000 + b"[1]]}}", "rows_too_many"),
    "cells": (b'{"inputs":{"age":[' + b"1," * 100_000 + b"1]}}", "rows_too_many"),
    "a text": (b'{"inputs":[{"town":"' + b"a" * (50 * 2**20) + b'"}]}', "row_too_large"),
    "members of a row": (b'{"inputs":[{' + _members(250_000) + b"}]}", "json_too_many_values"),
    "lists in a cell": (b'{"inputs":[{"path":[' + b"[]," * 150_000 + b"[]]}]}", "json_too_many_values"),
    "numbers in a cell": (b'{"inputs":[{"path":[' + b"1," * 250_000 + b"1]}]}", "json_too_many_values"),
    "params": (b'{"inputs":[],"params":{"a":[' + b"1," * 250_000 + b"1]}}", "json_too_many_values"),
    "members": (b"{" + _members(120_000) + b"}", "json_too_many_values"),
    "columns": (b'{"inputs":{' + _members(120_000) + b"}}", "json_too_many_values"),
}  # fmt: skip


@pytest.mark.parametrize("name", _TOO_MUCH)
def test_too_many_values_in_one_place_are_refused_before_any_is_made(name: str) -> None:
    body, code = _TOO_MUCH[name]
    with pytest.raises(TooLarge) as refused:
        LargeJson(body, _SIGNATURE, 1_000, _nothing).content()
    assert refused.value.code == code


def test_a_number_of_very_many_digits_is_refused_and_a_text_of_digits_is_taken() -> None:
    digits = "1" * 300_000
    for number in (digits, f"0.{digits}", f"1e{digits}", f"[1, -{digits}]"):
        body = f'{{"inputs": [{{"town": "{digits}", "hours": {number}}}]}}'.encode()
        assert _read(body, "inputs", 2**16)[0] == "json_number_too_long"
    content = LargeJson(f'{{"inputs": [{{"town": "{digits}"}}]}}'.encode(), _SIGNATURE, 10, _nothing).content()
    assert content == {"inputs": [{"town": digits}]}


@pytest.mark.parametrize("row", ['{"age": 1, "town": "a,]"}', "[[], {}, 1.5]", "null"])
def test_no_piece_is_larger_than_asked_unless_it_is_one_row_and_none_is_left_out(row: str) -> None:
    rows = [row] * 20_000 + [f'"{"x" * PIECE_BYTES}"'] + [row] * 5
    outline = JsonOutline(f'{{"params": null, "inputs": [{", ".join(rows)}]}}'.encode())
    inputs = dict(outline.members(outline.root()))["inputs"]
    pieces = list(outline.pieces(inputs, PIECE_BYTES))
    assert all(end - start <= PIECE_BYTES or count == 1 for start, end, count in pieces)
    assert sum(count for _, _, count in pieces) == len(rows)
    assert len(pieces) <= 3 + len(row) * len(rows) // (PIECE_BYTES // 2)


def test_marks_in_a_long_text_are_no_values_and_what_is_not_asked_for_is_not_kept() -> None:
    text = '[,{\\"' * 150_000
    row = {"age": 1, "town": text, "other": [[0] * 1_000] * 50, "hours": [0] * 1_000}
    content = LargeJson(json.dumps({"inputs": [row] * 2}).encode(), _SIGNATURE, 10, _nothing).content()
    kept = content["inputs"][0]
    assert (kept["age"], kept["town"], set(kept)) == (1, text, {"age", "town", "hours"})
    assert kept["hours"] is NESTED
