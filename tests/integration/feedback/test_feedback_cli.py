"""`tidemill feedback push` and the SDK against a live api."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.integration.conftest import LiveApi, RunCli
from tests.integration.feedback.conftest import Ledger
from tidemill.client import Tidemill
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.deployments import DeploymentEvent
from tidemill.kit.clock import utc_now

COLUMNS = ("--id-column", "id", "--truth-column", "income")


async def test_a_csv_is_pushed_once_and_again_without_effect(run_cli: RunCli, ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("id,income\n" + "".join(f"{id_},>50K\n" for id_ in ledger.binary))
    first = await run_cli("-o", "json", "feedback", "push", "adult-income", "truth.csv", *COLUMNS)
    again = await run_cli("feedback", "push", "adult-income", "truth.csv", *COLUMNS)
    assert (first[0], json.loads(first[1])["accepted"]) == (0, 4)
    assert again[0] == 0
    assert "known already" in again[1]
    assert "Pushing truth.csv" in again[2]


async def test_gzipped_ndjson_and_parquet_are_pushed(run_cli: RunCli, ledger: Ledger, tmp_path: Path) -> None:
    rows = [{"id": id_, "income": 1.5} for id_ in ledger.regression]
    (tmp_path / "truth.ndjson.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    pq.write_table(pa.table({"id": ledger.integers, "income": [1, None], "other": [0, 0]}), tmp_path / "truth.parquet")
    code, out, _ = await run_cli("-o", "json", "feedback", "push", "bikes", "truth.ndjson.gz", *COLUMNS)
    assert (code, json.loads(out)["accepted"]) == (0, 2)
    code, out, _ = await run_cli("-o", "json", "feedback", "push", "digits", "truth.parquet", *COLUMNS)
    assert (code, json.loads(out)["accepted"], json.loads(out)["skipped"]) == (0, 1, 1)


async def test_faults_end_with_one_clear_sentence(
    run_cli: RunCli, ledger: Ledger, sessions: SessionFactory, tmp_path: Path
) -> None:
    async with transaction(sessions) as session:
        session.add(DeploymentEvent(id="de_1", deployment="bikes", kind="created", who="key_1", at=utc_now()))
    (tmp_path / "other.csv").write_text(f"id,income\n{ledger.binary[0]},1\n")
    (tmp_path / "fake.parquet").write_text("no parquet")
    (tmp_path / "image.png").write_text("")
    for file, deployment, code, said in (
        ("absent.csv", "adult-income", 4, "no file"),
        ("image.png", "adult-income", 1, "end in one of"),
        ("fake.parquet", "adult-income", 1, "not a Parquet file"),
        ("other.csv", "bikes", 1, "row 2, column id"),
        ("other.csv", "adult-incme", 4, "no such deployment"),
    ):
        found, out, err = await run_cli("feedback", "push", deployment, file, *COLUMNS)
        assert (found, out) == (code, ""), err
        assert said in err
        assert "Traceback" not in err


async def test_a_large_file_with_an_early_fault_still_gets_its_answer(
    run_cli: RunCli, ledger: Ledger, tmp_path: Path
) -> None:
    with (tmp_path / "large.csv").open("w") as out:
        out.write("id,income\nprd_17,>50K\n")
        for _ in range(600_000):
            out.write(f"{ledger.binary[0]},>50K\n")
    code, _, err = await run_cli("feedback", "push", "adult-income", "large.csv", *COLUMNS)
    assert code == 1
    assert "row 2, column id" in err


async def test_the_sdk_pushes_in_batches(live_api: LiveApi, ledger: Ledger) -> None:
    with Tidemill(live_api.url, live_api.key) as tidemill:
        counts = tidemill.feedback.push("adult-income", dict.fromkeys(ledger.binary, ">50K"))
        again = tidemill.feedback.push(None, [(ledger.binary[0], ">50K")])
    assert (counts.accepted, counts.unmatched) == (4, 0)
    assert again.duplicates == 1
