"""Whatever a model may answer is answered as it is meant, exactly, or is an error whose code tells what it was."""

import datetime as dt
import decimal
import enum
import json
import math
import uuid
from typing import Any, ClassVar

import numpy as np
import orjson
import pandas as pd
import pytest

from tidemill.adapters.model_answers import plain_classes, plain_probabilities, plain_values
from tidemill.adapters.model_loading import Outputs, PyfuncModel
from tidemill.kit.errors import Invalid
from tidemill.model_server.runtimes.frames import plain_outputs
from tidemill.model_server.runtimes.messages import HEADER_BYTES, packed

_ENDLESS: list[Any] = []
_ENDLESS.append(_ENDLESS)


class _Text(str):
    __slots__ = ()


class _Level(enum.IntEnum):
    LOW = 1


class _Trap:
    @property
    def dtype(self) -> object:
        raise RuntimeError


_KEPT: dict[str, tuple[Any, list[Any]]] = {
    "floats with one missing": (np.array([1.5, math.nan]), [1.5, None]),
    "narrow and wide floats": ([np.float16(0.5), np.float32(0.5), np.longdouble(0.5)], [0.5, 0.5, 0.5]),
    "scalars of numpy": ([np.int64(3), np.bool_(True), np.str_("a")], [3, True, "a"]),
    "integers at both ends": ([-(2**63), 2**53 + 1, 2**64 - 1], [-(2**63), 2**53 + 1, 2**64 - 1]),
    "unsigned integers": (np.array([2**64 - 1], np.uint64), [2**64 - 1]),
    "integers of pandas with one missing": (pd.Series([2**53 + 1, None], dtype="Int64"), [2**53 + 1, None]),
    "a frame of one such column": (pd.DataFrame({"a": pd.Series([2**53 + 1, None], dtype="Int64")}), [2**53 + 1, None]),
    "mixed types": ([1, "a", None, True, 2.5], [1, "a", None, True, 2.5]),
    "missing values": ([None, math.nan, pd.NA, pd.NaT, np.ma.masked], [None] * 5),
    "days and moments": (
        [dt.date(2026, 1, 2), dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC), pd.Timestamp(1)],
        ["2026-01-02", "2026-01-02T03:00:00+00:00", "1970-01-01T00:00:00.000000001"],
    ),
    "moments of numpy": (
        np.array(["2026-01-02T03:00", "NaT", "2026-01-02T00:00:00.123456789"], "M8[ns]"),
        ["2026-01-02T03:00:00", None, "2026-01-02T00:00:00.123456789"],
    ),
    "moments beyond the years of Python": (np.array(["12026-01-01"], "M8[D]"), ["12026-01-01"]),
    "nested lists": ([[1, [2, [np.float32(3)]]]], [[1, [2, [3.0]]]]),
    "several outputs": (np.array([[1.0, 2.0], [3.0, 4.0]]), [[1.0, 2.0], [3.0, 4.0]]),
    "records": ([{"a": np.int8(1), 2: [math.nan]}], [{"a": 1, "2": [None]}]),
    "named columns": ({"a": [1, 2], "b": np.array(["x", "y"])}, [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
    "subclasses": ([_Text("a"), _Level.LOW], ["a", 1]),
    "categories": (pd.Series(["a", "b"], dtype="category"), ["a", "b"]),
    "texts with NUL": (["a\0"], ["a\0"]),
    "a generator": ((number for number in (1, 2)), [1, 2]),
}
_REFUSED: dict[str, tuple[Any, str]] = {
    "infinity": ([1.0, math.inf], "prediction_not_finite"),
    "infinity in an array": (np.array([1.0, -math.inf]), "prediction_not_finite"),
    "infinity in a record": ([{"a": [math.inf]}], "prediction_not_finite"),
    "infinity among texts": (["a", math.inf], "prediction_not_finite"),
    "a wide infinity": ([np.longdouble("1e4000")], "prediction_not_finite"),
    "an integer beyond 64 bits": ([2**64], "prediction_out_of_range"),
    "a negative one": ([-(2**63) - 1], "prediction_out_of_range"),
    "bytes": ([b"a"], "prediction_type_unsupported"),
    "an array of bytes": (np.array([b"a"]), "prediction_type_unsupported"),
    "a decimal number": ([decimal.Decimal("1.1")], "prediction_type_unsupported"),
    "a complex number": (np.array([1j]), "prediction_type_unsupported"),
    "a span of time": (np.array([1], "m8[s]"), "prediction_type_unsupported"),
    "a set": ([{1, 2}], "prediction_type_unsupported"),
    "an object": ([object()], "prediction_type_unsupported"),
    "an identifier": ([uuid.UUID(int=1)], "prediction_type_unsupported"),
    "a trap": ([_Trap()], "prediction_type_unsupported"),
    "a structure": (np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]), "prediction_type_unsupported"),
    "a list within itself": (_ENDLESS, "prediction_too_deep"),
    "half a surrogate pair": (["\ud800"], "prediction_text_unusable"),
    "such a name": ([{"\ud800": 1}], "prediction_text_unusable"),
    "names that are equal as texts": ([{1: 2, "1": 3}], "prediction_names_equal"),
    "columns of one name": (pd.DataFrame([[1, 2]], columns=["a", "a"]), "model_output_shape"),
    "columns of several lengths": ({"a": [1], "b": [1, 2]}, "model_output_shape"),
    "nothing": (None, "model_output_shape"),
    "a number alone": (5, "model_output_shape"),
    "an array without an axis": (np.array(5), "model_output_shape"),
    "a text": ("abc", "model_output_shape"),
    "bytes alone": (b"abc", "model_output_shape"),
    "too few rows": ([], "model_output_length"),
    "too many rows": ([1] * 9, "model_output_length"),
}


class _Foreign:
    """A model as MLflow loads it, with the answer it shall give."""

    class metadata:  # noqa: N801 - as MLflow names it
        flavors: ClassVar[dict[str, Any]] = {"python_function": {}}

        @staticmethod
        def get_input_schema() -> None:
            return None

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def predict(self, _frame: Any, params: Any = None) -> Any:
        del params
        return self._answer


def _answered(answer: Any, row_count: int) -> list[Any]:
    """As the model's process sends it."""
    outputs = plain_outputs(PyfuncModel(_Foreign(answer)).predict(pd.DataFrame({"x": range(row_count)})))
    sent: list[Any] = json.loads(packed({"prediction": outputs.prediction})[HEADER_BYTES:])["prediction"]
    return sent


@pytest.mark.parametrize("name", _KEPT)
def test_what_json_can_say_is_answered_exactly(name: str) -> None:
    answer, wanted = _KEPT[name]
    found = _answered(answer, len(wanted))
    assert found == wanted
    assert [type(value) for value in found] == [type(value) for value in wanted]


@pytest.mark.parametrize("name", _REFUSED)
def test_what_json_cannot_say_is_an_error_that_tells_what_it_was(name: str) -> None:
    answer, code = _REFUSED[name]
    with pytest.raises(Invalid) as refused:
        _answered(answer, 2 if name in {"infinity", "infinity in an array", "infinity among texts"} else 1)
    assert refused.value.code == code, refused.value.detail


def test_an_error_names_the_first_row_of_its_sort() -> None:
    with pytest.raises(Invalid) as refused:
        plain_values([1.0, 2.0, math.inf, math.inf])
    assert [problem.pointer for problem in refused.value.problems] == ["/predictions/2"]


@pytest.mark.parametrize(
    ("probabilities", "code"),
    [
        ([[0.5, 0.5]], "model_output_shape"),
        ([[0.5], [0.5]], "model_output_shape"),
        ([0.5, 0.5], "model_output_shape"),
        ([[0.5, math.inf], [0.5, 0.5]], "prediction_not_finite"),
        ([[0.5, "x"], [0.5, 0.5]], "prediction_type_unsupported"),
        ([[0.5, None], [0.5, 0.5]], "prediction_type_unsupported"),
    ],
)
def test_probabilities_that_are_none_are_refused(probabilities: Any, code: str) -> None:
    with pytest.raises(Invalid) as refused:
        plain_probabilities(probabilities, 2, 2)
    assert refused.value.code == code


def test_classes_are_labels_that_differ_as_texts() -> None:
    assert plain_classes(np.array([2**53 + 1, 3])) == (2**53 + 1, 3)
    for classes, code in (
        *((equal, "model_classes_repeated") for equal in ([1, 1.0], ["a", "a"], ["b", "a", "b"], [True, True])),
        *((odd, "model_classes_unusable") for odd in ([1, "a"], [True, 2], [[1], [2]], [None, 1], [2**63, 1], [])),
    ):
        with pytest.raises(Invalid) as refused:
            plain_classes(classes)
        assert refused.value.code == code


def test_the_values_of_an_answer_are_written_by_the_ledgers_writer() -> None:
    outputs = plain_outputs(Outputs([answer for answer, _ in _KEPT.values() if isinstance(answer, list)]))
    assert orjson.loads(orjson.dumps(outputs.prediction))
