"""Damaged files of every format end in an error of ours that tells what is wrong, at every place where files are read.

Anything else would be a job that ends ``internal``, a 500 or a traceback.
"""

import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.ingest.ingesting import Ingest
from tests.integration.reading.damage import damaged, whole_files
from tests.integration.reading.workbooks import NAMES, sheet, workbook
from tidemill.cli.prediction_rows import RowFile
from tidemill.features.feedback.files import reader_for
from tidemill.kit.errors import Invalid, Problem, TidemillError
from tidemill.kit.signatures import Column
from tidemill.model_server.tables import RecordsTable
from tidemill.model_server.transports.csv_table import CsvTable
from tidemill.model_server.transports.parquet_table import ParquetTable
from tidemill.model_server.transports.server import parsed_json
from tidemill.model_server.validation import validate
from tidemill.schemas.feedback import FeedbackFileQuery
from tidemill.web.request_memory import RequestMemory

FOUND = Path(__file__).parent / "found"
"""Files that once ended otherwise."""
WHOLE = whole_files()
TYPES = {"age": "long", "hours": "double", "town": "string", "day": "datetime", "ok": "boolean", "when": "datetime"}
SIGNATURE = [Column(name, kind, required=False) for name, kind in TYPES.items()]
CHANGES = st.lists(
    st.tuples(st.integers(0, 76), st.floats(0, 1), st.integers(0, 255), st.integers(1, 40)), min_size=1, max_size=4
)
FUZZ = settings(
    max_examples=25, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
Reading = Callable[[bytes], None]


def ingest(content: bytes) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        Ingest(folder)(content)
    finally:
        shutil.rmtree(folder)


def command(ending: str) -> Reading:
    def read(content: bytes) -> None:
        with tempfile.NamedTemporaryFile(suffix=ending) as file:
            file.write(content)
            file.flush()
            for batch in RowFile(Path(file.name), SIGNATURE).batches(100):
                json.dumps(batch.rows, allow_nan=False, ensure_ascii=False).encode()

    return read


def feedback(media_type: str) -> Reading:
    query = FeedbackFileQuery(id_column="town", truth_column="age", observed_at_column="day")

    def read(content: bytes) -> None:
        list(reader_for(media_type, query, lambda: io.BytesIO(content), 2**28).read())

    return read


_MEMORY_BYTES = 512 * 2**20


def csv_body(content: bytes) -> None:
    validate(CsvTable(content, "text/csv", SIGNATURE, 1000), SIGNATURE)


def parquet_body(content: bytes) -> None:
    validate(ParquetTable(content, SIGNATURE, 1000, RequestMemory(_MEMORY_BYTES).share().take), SIGNATURE)


def json_body(content: bytes) -> None:
    validate(RecordsTable(parsed_json(content, RequestMemory(_MEMORY_BYTES).share()), "/inputs"), SIGNATURE)


ENDINGS = {"ndjson": ".ndjson", "zstd": ".ndjson.zst", "parquet": ".parquet", "parquet_plain": ".parquet"}


def _readings() -> Iterator[tuple[str, Reading]]:
    for name in WHOLE:
        yield name, ingest
        if name.startswith(("csv", "gzip", "parquet")) or name in ENDINGS:
            yield name, command(ENDINGS.get(name, ".csv"))
        if name.startswith(("csv", "gzip")):
            yield name, csv_body
            yield name, feedback("text/csv")
    yield "ndjson", feedback("application/x-ndjson")
    yield "json", json_body
    yield "parquet", parquet_body
    yield "parquet_plain", parquet_body


READINGS = list(_readings())


@pytest.mark.parametrize(("name", "read"), READINGS, ids=[f"{name}-{read.__qualname__}" for name, read in READINGS])
def test_a_damaged_file_is_read_or_refused_and_nothing_else(name: str, read: Reading) -> None:
    @FUZZ
    @given(CHANGES)
    def try_one(changes: list[tuple[int, float, int, int]]) -> None:
        with suppress(TidemillError):
            read(damaged(WHOLE[name], changes))

    try_one()


@pytest.mark.parametrize("content", WHOLE.values(), ids=list(WHOLE))
def test_the_whole_files_are_read(content: bytes) -> None:
    ingest(content)


@pytest.mark.parametrize("file", sorted(FOUND.glob("*")), ids=lambda file: file.name)
def test_what_damage_once_broke_is_refused(file: Path) -> None:
    readings = {"parquet-body": parquet_body}
    read = next((read for start, read in readings.items() if file.name.startswith(start)), ingest)
    with pytest.raises(Invalid) as caught:
        read(file.read_bytes())
    assert caught.value.detail


@pytest.mark.parametrize(
    "content",
    [
        workbook(sheet1=None),
        workbook(workbook="<workbook"),
        workbook(styles="<styleSheet>"),
        workbook(sheet1=sheet(NAMES + '<row r="2"><c r="A2" t="s"><v>99999</v></c></row>')),
        workbook(sheet1=sheet(NAMES + '<row r="2"><c r="A2" t="s"><v>x</v></c></row>')),
        workbook(sheet1=sheet(NAMES + '<row r="2"><c r="A2"><v>1..2</v></c></row>')),
        workbook(sheet1=sheet(NAMES + '<row r="2"><c r="A2"><v>' + "9" * 5000 + "</v></c></row>")),
        workbook(sheet1=sheet(NAMES + '<row r="2"><c r="A2" t="d"><v>2024-99-99</v></c></row>')),
        workbook(sheet1=sheet(NAMES + '<row r="2"><c r="A2" t="b"><v>maybe</v></c></row>')),
        workbook(sheet1=sheet(NAMES + '<row r="2"><c r="ZZZZZZ2"><v>1</v></c></row>')),
        workbook(sheet1=sheet(NAMES + '<row r="2000000000"><c r="A2000000000"><v>1</v></c></row>')),
        workbook(sheet1=sheet(NAMES + '<row r="x"><c r="A2"><v>1</v></c></row>')),
        workbook(sheet1=sheet(NAMES + '<row r="2"><c r="2A"><v>1</v></c></row>')),
        WHOLE["excel"].replace(b"\x14\0\0\0\x08\0", b"\x14\0\0\0\x63\0"),  # packed in a way that nobody knows
        WHOLE["excel"][:-30],
        WHOLE["excel"][:2000],
    ],
    ids=range(16),
)
def test_a_damaged_workbook_is_refused_soon_and_clearly(content: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        ingest(content)
    assert caught.value.code in {"file_damaged", "sheet_out_of_order"}, caught.value.detail


def test_a_row_of_feedback_with_two_members_of_one_name_is_told() -> None:
    query = FeedbackFileQuery(id_column="id", truth_column="truth")
    content = b'{"id": "prd_1", "truth": 1}\n{"id": "prd_2", "truth": 1, "truth": 2}\n'
    rows = list(reader_for("application/x-ndjson", query, lambda: io.BytesIO(content), 2**20).read())
    assert isinstance(rows[1], Problem)
    assert (rows[1].pointer, rows[1].code) == ("row 2", "member_repeated")


def test_a_workbook_with_a_password_is_told_as_such() -> None:
    with pytest.raises(Invalid, match="password"):
        ingest(WHOLE["excel"].replace(b"\x14\0\0\0\x08\0", b"\x14\0\x01\0\x08\0"))


def test_an_error_of_our_own_code_is_no_damage_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr("tidemill.training.ingest.arrow_source.check_structure", broken)
    broken.__globals__["__name__"], name = "tidemill.training.ingest.storable", __name__
    try:
        with pytest.raises(KeyError):
            ingest(WHOLE["arrow_file"])
    finally:
        broken.__globals__["__name__"] = name


def test_foreign_memory_is_not_read_through_damaged_offsets() -> None:
    table = pa.table({"a": pa.array(["x", "y"]), "b": pa.array(["x", "y"]).dictionary_encode()})
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    offsets = (0).to_bytes(4, "little") + (1).to_bytes(4, "little") + (2).to_bytes(4, "little")
    content = out.getvalue()
    assert offsets in content
    for at in (8, 4):
        broken = offsets[:at] + (2**30).to_bytes(4, "little") + offsets[at + 4 :]
        with pytest.raises(Invalid, match="damaged"):
            ingest(content.replace(offsets, broken))
