"""What a foreign model may answer with: one entry per row, however it is wrapped."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tidemill.adapters.model_loading import PyfuncModel
from tidemill.kit.errors import Invalid

FRAME = pd.DataFrame({"a": [1.0, 2.0]})


def answering(answer: Any) -> PyfuncModel:
    metadata = SimpleNamespace(flavors={}, get_input_schema=lambda: None)
    return PyfuncModel(SimpleNamespace(metadata=metadata, predict=lambda frame, params: answer))


@pytest.mark.parametrize(
    ("answer", "rows"),
    [
        ({"score": [1, 2]}, [1, 2]),
        ({"score": np.array([1, 2])}, [1, 2]),
        ({"low": [1, 2], "high": pd.Series([3, 4])}, [{"low": 1, "high": 3}, {"low": 2, "high": 4}]),
        (pd.DataFrame({"low": [1, 2], "high": [3, 4]}), [{"low": 1, "high": 3}, {"low": 2, "high": 4}]),
        ([1, 2], [1, 2]),
    ],
)
def test_columns_become_one_entry_for_each_row(answer: Any, rows: list[Any]) -> None:
    assert list(answering(answer).predict(FRAME).prediction) == rows


@pytest.mark.parametrize(
    "answer", ["ab", b"ab", ([1, 2], [3, 4]), {"low": [1], "high": [1, 2]}, {"score": 1}, {"score": "ab"}, {}]
)
def test_an_answer_that_is_no_rows_is_refused(answer: Any) -> None:
    with pytest.raises(Invalid) as refused:
        answering(answer).predict(FRAME)
    assert refused.value.code == "model_output_shape"
