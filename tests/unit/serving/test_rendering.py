"""Large answers are written beside the event loop, in pieces that together are what one call would write."""

import json
import math
import threading
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from tidemill.kit.clock import utc_now
from tidemill.model_server.background import Background
from tidemill.model_server.recording import PredictedRows, output_rows
from tidemill.model_server.rendering import list_pieces, object_bytes
from tidemill.model_server.runtimes.base import VALUES_ON_THE_LOOP, ModelOutputs
from tidemill.model_server.transports.server import Serving, answered
from tidemill.schemas.serving import DeploymentSpec

_ODD = [None, True, 2**64 - 1, -0.0, math.nan, "", '\u00e9\U0001f600"\\\n', [], {}, [[], [1]], {"a": {"b": []}}]
_LISTS: dict[str, list[Any]] = {
    "none": [],
    "one": [1],
    "odd ones": _ODD,
    "as many as the first piece": [1] * 16,
    "one more": [1] * 17,
    "many": list(range(100_000)),
    "short ones, then long ones": [0] * 5_000 + ["x" * 200_000, {"y": "y" * 70_000}] + _ODD * 500,
}
_SPEC = DeploymentSpec(
    name="d", model_name="m", model_version=1, reference="m@champion", flavor="tidemill", task=None, target=None,
    classes=None, signature={}, bundle_sha256="", bundle_size_bytes=0,
)  # fmt: skip


@pytest.mark.parametrize("name", _LISTS)
def test_pieces_of_a_list_are_what_one_call_writes(name: str) -> None:
    values = _LISTS[name]
    assert b"".join(list_pieces(values)) == orjson.dumps(values)
    members = {"first": "text", 'odd "name"': values, "last": {"of": values[:1]}}
    assert object_bytes(members) == orjson.dumps(members)


def test_an_object_without_members_is_written() -> None:
    assert object_bytes({}) == b"{}"


def test_no_piece_is_much_larger_than_64_kib_unless_it_is_one_value() -> None:
    rows = [{"probabilities": {str(label): 0.123456789 for label in range(50)}}] * 2_000
    assert max(map(len, list_pieces(rows))) < 2**17
    assert max(map(len, list_pieces(["a"] * 200_000))) < 2**17


@pytest.mark.parametrize(
    ("outputs", "is_large"),
    [
        (ModelOutputs([1.5] * VALUES_ON_THE_LOOP, None, None), False),
        (ModelOutputs([1.5] * (VALUES_ON_THE_LOOP + 1), None, None), True),
        (ModelOutputs(["a"] * 10, [[0.5, 0.5]] * 10, ("a", "b")), False),
        (ModelOutputs(["0"] * 20, [[0.001] * 1_000] * 20, tuple(range(1_000))), True),
        (ModelOutputs(["x" * 2**20], None, None), True),
        (ModelOutputs([None, {"any": "number of values"}], None, None), True),
        (ModelOutputs([[1]], None, None), True),
    ],
)
async def test_few_rows_with_many_values_are_written_beside_the_event_loop(
    outputs: ModelOutputs, is_large: bool
) -> None:
    background, threads = Background(), []
    serving = cast("Serving", SimpleNamespace(data_plane=SimpleNamespace(background=background)))
    answers = output_rows(outputs)
    rows = PredictedRows(_SPEC, ["prd"] * len(answers), utc_now(), answers, outputs.is_large)

    def reply(found: PredictedRows) -> dict[str, Any]:
        threads.append(threading.current_thread() is not threading.main_thread())
        return {"predictions": list(found.outputs)}

    response = await answered(serving, rows, reply)
    background.close()
    assert threads == [is_large or len(answers) > 2_000]
    assert json.loads(response.body) == json.loads(orjson.dumps({"predictions": answers}))
