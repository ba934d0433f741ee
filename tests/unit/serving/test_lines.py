"""Ids of predictions and lines of the ledger."""

import json
from datetime import UTC, datetime

from tidemill.kit import ids
from tidemill.kit.signatures import INVALID, Column, value_of_text
from tidemill.model_server.ledger.lines import encode, read_content
from tidemill.model_server.recording import Asker, PredictedRows, ledger_lines, output_rows, prediction_ids
from tidemill.model_server.runtimes.base import ModelOutputs
from tidemill.schemas.serving import DeploymentSpec

SPEC = DeploymentSpec(
    name="d", model_name="m", model_version=3, reference="m@champion", flavor="tidemill", task="binary", target="t",
    classes=None, signature={}, bundle_sha256="0" * 64, bundle_size_bytes=1,
)  # fmt: skip


def test_ids_are_valid_sorted_different_and_hold_their_moment() -> None:
    made, moment = prediction_ids(5000)
    assert made == sorted(made)
    assert len(set(made)) == 5000
    assert all(ids.is_id(id_, ids.PREDICTION) and id_[16] == "7" and id_[20] in "89ab" for id_ in made)
    assert {ids.created_at(id_) for id_ in made} == {moment}
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 5


def test_numbers_survive_to_the_last_digit_and_nan_becomes_null() -> None:
    made, moment = prediction_ids(1)
    outputs = output_rows(ModelOutputs([float("nan")], None, None))
    columns = {"big": [2**63 - 1], "small": [0.1 + 0.2], "gone": [None], "text": ['"\n\u2028ß']}
    lines = ledger_lines(PredictedRows(SPEC, made, moment, outputs), columns, Asker("key_1", None))
    content = read_content(lines)
    (payload,) = content.payloads
    row = json.loads(payload)
    assert row["inputs"] == {"big": 2**63 - 1, "small": 0.1 + 0.2, "gone": None, "text": '"\n\u2028ß'}
    assert row["output"] == {"prediction": None}
    assert datetime.fromisoformat(row["predicted_at"]) == ids.created_at(row["prediction_id"])


def test_probabilities_are_named_by_their_labels() -> None:
    rows = output_rows(ModelOutputs([True], [[0.25, 0.75]], (False, True)))
    assert rows == [{"prediction": True, "probabilities": {"false": 0.25, "true": 0.75}}]


def test_a_torn_end_is_cut_and_a_damaged_line_is_told_from_the_good_ones() -> None:
    good = [encode(b'{"n": %d}' % number) for number in range(3)]
    for cut in range(len(good[2])):
        found = read_content(good[0] + good[1] + good[2][:cut])
        assert (len(found.payloads), found.damaged, found.torn_bytes) == (2, [], cut)
    damaged = good[1].replace(b"1", b"7", 1) if good[1].count(b"1") == 1 else good[1][:-3] + b"9}\n"
    found = read_content(good[0] + damaged + good[2])
    assert (len(found.payloads), len(found.damaged)) == (2, 1)


def test_cells_of_a_file_are_read_as_their_column_wants_them() -> None:
    def read(text: str, type_name: str) -> object:
        return value_of_text(text, Column("x", type_name, required=False))

    assert (read("42", "long"), read(" 42 ", "double"), read("TRUE", "boolean")) == (42, 42.0, True)
    assert read("", "long") is None
    assert [read(" NAN ", name) for name in ("long", "double", "boolean", "datetime")] == [None] * 4
    assert (read(" 2024-02-29 ", "datetime"), read(" NAN ", "string")) == ("2024-02-29", " NAN ")
    assert (read("007", "string"), read("nan", "double")) == ("007", None)
    for text, type_name in (("4.0", "long"), ("1_000", "long"), ("yes", "boolean"), ("x", "double"), ("1_0", "double")):
        assert read(text, type_name) is INVALID
