"""The SDK and the command line against a live api."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.integration.conftest import LiveApi, RunCli, RunJobs
from tidemill.client import Tidemill
from tidemill.kit.errors import Invalid, NotFound
from tidemill.schemas.datasets import IngestOptions

CITIES = "city;people\nBern;134\nBasel;173\nChur;38\n"


async def test_a_dataset_from_push_to_delete_on_the_command_line(
    run_cli: RunCli, run_jobs: RunJobs, tmp_path: Path
) -> None:
    (tmp_path / "cities.csv").write_text(CITIES)
    code, out, err = await run_cli("-o", "json", "dataset", "push", "cities.csv", "--name", "cities", "--no-wait")
    assert (code, json.loads(out)["state"]) == (0, "pending"), err
    await run_jobs()
    code, out, err = await run_cli("dataset", "push", "cities.csv", "--name", "cities")
    assert (code, "version 1 already" in err, "3 rows, 2 columns" in out) == (0, True, True)
    code, out, _ = await run_cli("dataset", "show", "cities")
    assert (code, "people" in out, "38 .. 134 .. 173" in out) == (0, True, True)
    code, out, _ = await run_cli("dataset", "download", "cities", "--raw", "--to", "back.csv")
    assert (out.strip(), (tmp_path / "back.csv").read_text()) == ("back.csv", CITIES)
    assert (await run_cli("dataset", "delete", "cities", "1", "--yes"))[0] == 0
    code, _, err = await run_cli("dataset", "show", "cities")
    assert (code, "dataset_not_found" in err) == (4, True)


async def test_the_sdk_pushes_compares_and_downloads(live_api: LiveApi, run_jobs: RunJobs, tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text(CITIES)
    second.write_text(CITIES + "Sion;35\n")
    with Tidemill(live_api.url, live_api.key) as tidemill:
        for file in (first, second):
            pushing = asyncio.create_task(asyncio.to_thread(tidemill.datasets.push, file, "cities", timeout_seconds=60))
            while not pushing.done():
                await run_jobs()
                await asyncio.sleep(0.05)
            await pushing
        diff = await asyncio.to_thread(tidemill.datasets.diff, "cities", 1, 2)
        assert (diff.row_count_before, diff.row_count_after, diff.columns) == (3, 4, [])
        paths = await asyncio.to_thread(tidemill.datasets.download, "cities", tmp_path / "c.parquet")
        assert [path.read_bytes()[:4] for path in paths] == [b"PAR1"]
        assert [version.number for version in tidemill.datasets.versions("cities")] == [2, 1]
        with pytest.raises(NotFound):
            tidemill.datasets.push(tmp_path / "none.csv", "cities")
        with pytest.raises(Invalid):
            tidemill.datasets.upload(first, "Not A Name", options=IngestOptions(types={"city": "string"}))


async def test_a_push_that_cannot_work_says_why_and_leaves_nothing(run_cli: RunCli, tmp_path: Path) -> None:
    with (tmp_path / "large.csv").open("wb") as out:
        out.truncate(65 << 20)
    (tmp_path / "empty.csv").touch()
    (tmp_path / "cities.csv").write_text(CITIES)
    for arguments, expected, word in (
        (("large.csv", "--name", "cities"), 1, "larger than the limit"),
        (("empty.csv", "--name", "cities"), 1, "file_empty"),
        (("none.csv", "--name", "cities"), 4, "file_not_found"),
        (("cities.csv", "--name", "Cities/x"), 1, "name_invalid"),
        (("cities.csv", "--name", "cities", "--quote", "x"), 2, "--quote"),
        (("cities.csv", "--name", "cities", "--delimiter", "ab"), 2, "--delimiter"),
    ):
        code, _, err = await run_cli("dataset", "push", *arguments)
        assert (code, word in err) == (expected, True), err
    assert json.loads((await run_cli("-o", "json", "dataset", "list"))[1]) == []
    assert (await run_cli("dataset", "show", "cities", "0"))[0] == 2


async def test_a_wide_table_is_shown_in_part_and_its_names_as_they_are(
    run_cli: RunCli, run_jobs: RunJobs, tmp_path: Path
) -> None:
    names = ["[id]", *(f"column{index}" for index in range(99))]
    (tmp_path / "wide.csv").write_text(",".join(names) + "\n" + ",".join("7" for _ in names) + "\nx" + ",8" * 99 + "\n")
    await run_cli("dataset", "push", "wide.csv", "--name", "wide", "--no-wait", "--header")
    await run_jobs()
    _, out, _ = await run_cli("dataset", "show", "wide")
    assert all(word in out for word in ("[id]", "read as csv, utf-8, delimiter ,", "column58 ", "and 40 more columns"))
    assert "column98 " not in out
    assert "column98 " in (await run_cli("dataset", "show", "wide", "--all"))[1]
