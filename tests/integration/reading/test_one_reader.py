"""Datasets, predictions and feedback read the same cells of a delimited text, or refuse it for the same reason."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.ingest.ingesting import Ingest, table_of
from tests.integration.reading.corpus import DAMAGES, DIALECTS, IDS, Cells, Text
from tidemill.cli.prediction_rows import RowFile
from tidemill.features.feedback.files import reader_for
from tidemill.kit.errors import Invalid, Problem, TidemillError, Unsupported
from tidemill.kit.signatures import Column
from tidemill.model_server.transports.csv_table import CsvTable
from tidemill.schemas.feedback import FeedbackFileQuery

NAMES = ("prediction_id", "truth", "note")
COLUMNS = [Column(name, "string", required=False) for name in NAMES]
Read = Callable[[bytes, Path], list[Cells]]


def dataset(content: bytes, folder: Path) -> list[Cells]:
    rows = table_of(Ingest(folder)(content, types=dict.fromkeys(NAMES, "string"))).to_pylist()
    return [(row["truth"], row["note"]) for row in rows]


def command(content: bytes, folder: Path) -> list[Cells]:
    """`tidemill predict FILE`."""
    file = folder / "rows.csv"
    file.write_bytes(content)
    return [(row["truth"], row["note"]) for batch in RowFile(file, COLUMNS).batches(2) for row in batch.rows]


def invocations(content: bytes, _folder: Path) -> list[Cells]:
    """POST /invocations as text/csv."""
    table = CsvTable(content, "text/csv", COLUMNS, 100_000)
    return list(zip(table.column("truth") or (), table.column("note") or (), strict=True))


def feedback(content: bytes, _folder: Path) -> list[Cells]:
    """POST /api/v1/feedback/files. The notes are read as truths another time."""
    truths, notes = (_told(content, FeedbackFileQuery(truth_column=name)) for name in NAMES[1:])
    return list(zip(truths, notes, strict=True))


def _told(content: bytes, query: FeedbackFileQuery) -> list[str | None]:
    rows = list(reader_for("text/csv", query, lambda: io.BytesIO(content), 2**30).read())
    problems = [row for row in rows if isinstance(row, Problem)]
    # A truth of a million characters is refused as such, after it was read.
    if wrong := [problem for problem in problems if problem.code != "truth_invalid"]:
        raise Invalid("feedback_invalid", "", wrong)
    return [None if row is None else "l" * 1000 if isinstance(row, Problem) else row.text for row in rows]


ENTRANCES = [dataset, command, invocations, feedback]


@pytest.mark.parametrize("read", ENTRANCES)
@pytest.mark.parametrize("text", DIALECTS.values(), ids=list(DIALECTS))
def test_every_entrance_reads_the_same_cells(read: Read, text: Text, tmp_path: Path) -> None:
    assert text.cells is not None
    expected = text.cells
    if read is feedback:  # blanks alone are no truth, and a long one is told apart by `_told`
        expected = [tuple("l" * 1000 if cell and len(cell) > 1000 else cell for cell in row) for row in expected]  # type: ignore[misc]
    assert read(text.content, tmp_path) == expected


@pytest.mark.parametrize("read", ENTRANCES)
@pytest.mark.parametrize("text", DAMAGES.values(), ids=list(DAMAGES))
def test_every_entrance_refuses_for_the_same_reason_and_names_the_line(read: Read, text: Text, tmp_path: Path) -> None:
    with pytest.raises(TidemillError) as caught:
        read(text.content, tmp_path)
    error = caught.value
    codes = {error.code, *(problem.code for problem in error.problems)}
    assert text.code in codes, (error.code, error.detail)
    places = " ".join([error.detail, *(problem.pointer for problem in error.problems)])
    if text.line is not None:
        assert {int(number) for number in re.findall(r"(?:row|[Ll]ine) (\d+)", places)} == {text.line}
    assert IDS[0] not in places


@pytest.mark.parametrize("read", [command, invocations, feedback])
@pytest.mark.parametrize("text", ['[{"truth": "a"}]', '{"truth": "a", "note": "x"}\n{"truth": "b", "note": "y"}\n'])
def test_json_that_is_called_delimited_text_is_told_as_such(read: Read, text: str, tmp_path: Path) -> None:
    with pytest.raises(Unsupported) as caught:
        read(text.encode(), tmp_path)
    assert caught.value.code == "format_mismatch"
