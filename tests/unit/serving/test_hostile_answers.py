"""What a model's own process says is looked at before anybody else sees it: its code may have written it by itself."""

from typing import Any

import pytest

from tidemill.kit.errors import Forbidden, Invalid, Problem, TidemillError, Unavailable, to_record
from tidemill.model_server.runtimes.answers import error_of, outputs_of

_TWO = {"prediction": ["a"], "probabilities": [[0.4, 0.6]]}

NO_ANSWERS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "more rows than were asked": {"prediction": [1, 2]},
    "a prediction that is no list": {"prediction": "a"},
    "probabilities without classes": {"prediction": ["a"], "probabilities": [[1.0]]},
    "probabilities of fewer classes": {"prediction": ["a"], "probabilities": [[1.0]], "classes": ["a", "b"]},
    "probabilities that are texts": {"prediction": ["a"], "probabilities": [["1.0"]], "classes": ["a"]},
    "classes that are records": _TWO | {"classes": [{"a": 1}, "b"]},
    "classes that are lists": _TWO | {"classes": [["a"], "b"]},
    "a class that is nothing": _TWO | {"classes": [None, "b"]},
    "classes of which two are equal": _TWO | {"classes": ["a", "a"]},
    "classes of which two are equal as texts": _TWO | {"classes": ["1", 1]},
    "an error that is no record": {"error": [1]},
    "an error of a kind nobody knows": {"error": {"kind": "KeyboardInterrupt", "code": "x", "detail": "x"}},
    "an error whose code is a list": {"error": {"kind": "Invalid", "code": ["model_failed"], "detail": "x"}},
    "an error with a code of its own": {"error": {"kind": "Invalid", "code": "mine_42", "detail": "x"}},
    "an error with a code without end": {"error": {"kind": "Invalid", "code": "x" * 10**6, "detail": "x"}},
    "an error with problems that are none": {"error": {"kind": "Invalid", "code": "model_failed", "problems": [1]}},
    "an error that is the caller's": {"error": to_record(Forbidden("scope_missing", "x"))},
    "an error that is the platform's": {"error": to_record(Unavailable("model_busy", "x"))},
}


@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_no_answer_for_the_rows_is_a_failure_of_the_model(answer: dict[str, Any]) -> None:
    with pytest.raises(TidemillError) as refused:
        raise _found(answer)
    assert (type(refused.value), refused.value.code) == (Invalid, "model_failed")


def _found(answer: dict[str, Any]) -> Exception:
    try:
        outputs_of(answer, 1)
    except TidemillError as error:
        return error
    return AssertionError("it was taken for an answer")


def test_an_error_is_told_on_one_line_and_without_orders_to_a_terminal() -> None:
    problem = {"pointer": "/\n", "code": "model_failed\x1b[2J", "detail": "\x85\u2028"}
    told = error_of(
        {"error": {"kind": "Invalid", "code": "model_failed", "detail": "a\r\nb\x9bc", "problems": [problem]}}
    )
    assert (told.detail, told.problems[0]) == ("a  b c", Problem("/ ", "model_failed [2J", "  "))


def test_an_error_that_a_model_may_end_with_is_told_and_bounded() -> None:
    problems = [{"pointer": "/predictions/0", "code": "prediction_too_deep", "detail": "d" * 10**6}] * 10**4
    told = error_of({"error": {"kind": "Invalid", "code": "prediction_too_deep", "detail": "d" * 10**6,
                               "problems": problems}})  # fmt: skip
    assert told.code == "prediction_too_deep"
    assert len(told.problems) == 100
    assert max(len(told.detail), *(len(problem.detail) for problem in told.problems)) == 1000
