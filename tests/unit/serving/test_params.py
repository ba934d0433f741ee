"""Params against a signature: by the rules of its columns, without echoing a value."""

from typing import Any

import pytest

from tidemill.kit.errors import Invalid
from tidemill.kit.signatures import params_of
from tidemill.model_server.params import checked_params

KNOWN = params_of(
    {
        "params": [
            {"name": "count", "type": "long", "default": 1, "shape": None},
            {"name": "share", "type": "double", "default": 0.5, "shape": None},
            {"name": "name", "type": "string", "default": "a", "shape": None},
            {"name": "since", "type": "datetime", "default": "2026-01-01", "shape": None},
            {"name": "weights", "type": "float", "default": [1.0], "shape": [-1]},
            {"name": "nested", "type": "object", "default": {}, "shape": None},
        ]
    }
)


@pytest.mark.parametrize(
    "given",
    [{"count": 3}, {"share": 1}, {"name": None}, {"since": "2026-03-01T12:00:00Z"}, {"weights": [1, 0.5]},
     {"nested": {"a": [1]}}],
)  # fmt: skip
def test_values_of_the_type_are_passed_on_as_they_are(given: dict[str, Any]) -> None:
    assert checked_params(given, KNOWN) == given


def test_a_number_without_a_fraction_is_an_integer() -> None:
    read = checked_params({"count": 3.0, "share": 3.0}, KNOWN)
    assert read is not None
    assert [type(value) for value in read.values()] == [int, float]


def test_no_params_are_none() -> None:
    assert checked_params({}, KNOWN) is None
    assert checked_params(None, KNOWN) is None


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"count": "secret"}, "/params/count"), ({"count": True}, "/params/count"), ({"count": 1.5}, "/params/count"),
        ({"count": 2**63}, "/params/count"),
        ({"share": "0.5"}, "/params/share"), ({"name": 5}, "/params/name"), ({"since": "soon"}, "/params/since"),
        ({"weights": 1.0}, "/params/weights"), ({"weights": [1.0, "secret"]}, "/params/weights"),
        ({"secret": 1}, "/params"),
    ],
)  # fmt: skip
def test_everything_else_is_refused_with_its_place(given: dict[str, Any], place: str) -> None:
    with pytest.raises(Invalid) as caught:
        checked_params(given, KNOWN)
    assert caught.value.code == "params_invalid"
    assert [problem.pointer for problem in caught.value.problems] == [place]
    assert "secret" not in str([caught.value.detail, *caught.value.problems])
