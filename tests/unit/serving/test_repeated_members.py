"""No value of a request is passed over since its object has another of the same name."""

import json

import orjson
import pytest

from tidemill.kit.errors import Invalid
from tidemill.model_server.transports.repeated import refuse_repeated


@pytest.mark.parametrize(
    "body",
    [
        '{"inputs": [{"a": 1, "a": 2}]}',
        '{"inputs": [{"a": 1, "a": 1}]}',
        '{"inputs": [{"a": 1}], "inputs": []}',
        '{"inputs": [{"a": 1}], "params": {"x": 1, "x": 2}}',
        '{"inputs": [{"a": 1, "\\u0061": 2}]}',
        '{"inputs": [{"a": "\\\\\\":", "a": ":"}]}',
        '{"inputs": [{"a": {"b": 1, "b": 2}}]}',
        '{"inputs": [{"a": [{"b": 1}, {"b": 1, "b": 2}]}]}',
        '{"dataframe_split": {"columns": ["a"], "columns": ["b"], "data": [[1]]}}',
        '{"inputs": [{"a": ' + "[" * 900 + "]" * 900 + ', "a": 1}]}',
    ],
    ids=range(10),
)
def test_two_members_of_one_name_are_refused(body: str) -> None:
    with pytest.raises(Invalid) as refused:
        refuse_repeated(body.encode(), orjson.loads(body))
    assert refused.value.code in ("member_repeated", "json_too_deep")


@pytest.mark.parametrize(
    "content",
    [
        {"inputs": [{"a": ":::", "b": '":', "c": None}], "params": {"x": "a:b"}},
        {"inputs": [{"a": {"b": 1, "c": [{"b": 2}]}}]},
        {"inputs": [{}]},
        {"dataframe_records": [{"a": 1}, {"a": 2}]},
        [{"a": 1}, {"a": 1}],
        [],
        "a:b",
        1,
    ],
    ids=range(8),
)
def test_what_is_said_once_passes(content: object) -> None:
    body = json.dumps(content).encode()
    refuse_repeated(body, orjson.loads(body))
