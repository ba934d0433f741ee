"""What a body of JSON becomes is known before it is parsed, and a caller's worst is refused by a stable code."""

import json
import tracemalloc

import pytest

from tidemill.kit.errors import TidemillError
from tidemill.kit.json_shape import ShapeLimits, check_shape, may_exceed_64_bits

_LIMITS = ShapeLimits(values=1000, depth=8, number_characters=20)
_MANY = 200_000
_NESTED = b"[" * 8 + b"]" * 8

_REFUSED = {
    "depth": (b"[" + _NESTED + b"]", "json_too_deep"),
    "depth of objects": (b'{"a":' * 9 + b"1" + b"}" * 9, "json_too_deep"),
    "depth behind a text with brackets": (b'["]]]]]]]]",' + _NESTED + b"]", "json_too_deep"),
    "depth behind an escaped quote": (b'["\\"",' + _NESTED + b"]", "json_too_deep"),
    "depth between backslashes": (b'["\\\\",' + _NESTED + b',"\\\\\\""]', "json_too_deep"),
    "unclosed": (b"[" * _MANY, "json_too_many_values"),
    "closers": (b"]" * _MANY, "body_not_json"),
    "closers of objects": (b"[1]" + b"}" * _MANY, "body_not_json"),
    "values": (b"[" + b"1," * _MANY + b"1]", "json_too_many_values"),
    "members": (b"{" + b",".join(b'"%d":1' % n for n in range(_MANY)) + b"}", "json_too_many_values"),
    "empty objects": (b"[" + b"{}," * _MANY + b"1]", "json_too_many_values"),
    "empty texts": (b"[" + b'"",' * _MANY + b"1]", "json_too_many_values"),
    "integer": (b"[" + b"1" * 21 + b"]", "json_number_too_long"),
    "negative integer": (b"[-" + b"1" * 20 + b"]", "json_number_too_long"),
    "fraction": (b"[0." + b"3" * 19 + b"]", "json_number_too_long"),
    "exponent": (b"[1e" + b"0" * 19 + b"]", "json_number_too_long"),
    "a number alone": (b"7" * _MANY, "json_number_too_long"),
    "another encoding": ("[1]".encode("utf-16"), "body_not_json"),
    "another encoding without a mark": ("[1]".encode("utf-16-le"), "body_not_json"),
}
_TAKEN = {
    "nothing": b"",
    "the deepest": _NESTED,
    "the longest number": b"[" + b"1" * 20 + b"]",
    "many values": b"[" + b",".join([b"1234"] * 900) + b"]",
    "many members": b"{" + b",".join(b'"member-%d": {}' % n for n in range(450)) + b"}",
    "marks in a text": json.dumps({"a": "[{,:" * 10_000}).encode(),
    "digits in a text": json.dumps({"a": "7" * 10_000}).encode(),
    "quotes in a text": json.dumps({"a": '"\\' * 10_000}).encode(),
    "a wide text": json.dumps({"a": "\N{GRINNING FACE}" * 10_000}, ensure_ascii=False).encode(),
    "an escaped text": json.dumps({"a": "\N{GRINNING FACE}ä" * 10_000}).encode(),
    "texts": json.dumps({f"key {n}": f"text {n}" for n in range(450)}).encode(),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_a_body_beyond_a_limit_is_refused_unparsed(name: str) -> None:
    body, code = _REFUSED[name]
    with pytest.raises(TidemillError) as refused:
        check_shape(body, _LIMITS)
    assert refused.value.code == code


@pytest.mark.parametrize("name", _TAKEN)
def test_a_body_within_the_limits_takes_no_more_memory_than_was_said(name: str) -> None:
    body = _TAKEN[name]
    said = check_shape(body, _LIMITS)
    tracemalloc.start()
    try:
        kept = json.loads(body) if body else None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= said + 2_000, kept is None


def test_an_integer_of_more_than_64_bits_is_found_wherever_it_stands() -> None:
    for number in (2**64, -(2**63) - 1, 10**300):
        for before in (0, 2**20 - 21, 2**20 - 10, 2**20 - 1, 2**20):
            assert may_exceed_64_bits(b" " * before + str(number).encode() + b" ")
    for number in (9_999_999_999_999_999_999, -999_999_999_999_999_999):
        assert not may_exceed_64_bits(b"[" + str(number).encode() + b",1.5e300,1234567890]")
