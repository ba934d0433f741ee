"""Deploying and predicting from the command line and the SDK, against real servers."""

import asyncio
import csv
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tests.integration.conftest import LiveApi, RunCli
from tests.integration.serving.conftest import Server
from tests.integration.serving.models import ROWS, Models, classifier
from tidemill.client import Tidemill
from tidemill.kit.errors import Invalid, NotFound


async def test_deploy_predict_and_look_back_from_the_command_line(
    run_cli: RunCli, server: Server, models: Models, tmp_path: Path
) -> None:
    await models.register("people", classifier(), task="binary", classes=["poor", "rich"])
    await server.start()
    address = {"TIDEMILL_MODEL_SERVER_URL": server.url}
    code, _, err = await run_cli("deploy", "apply", "wealth", "--model", "people:1", "--wait")
    assert (code, "wealth serves people:1" in err) == (0, True), err
    people = tmp_path / "people.csv"
    people.write_text("name;age;hours;town\nAnn;25;20.5;Ulm\nBob;61;60;\nCid;43;;Bonn\n")
    code, out, err = await run_cli(
        "-o", "json", "predict", "wealth", str(people), "--save", "out.csv", "--batch-rows", "2", environment=address
    )
    assert (code, json.loads(out)) == (0, {"rows": 3, "saved": "out.csv"}), err
    with (tmp_path / "out.csv").open(newline="") as file:
        saved = list(csv.DictReader(file))
    assert [(row["prediction"], row["model"], row["town"]) for row in saved] == [
        ("poor", "people:1", "Ulm"), ("rich", "people:1", ""), ("poor", "people:1", "Bonn"),
    ]  # fmt: skip
    await server.until_shipped()
    code, out, _ = await run_cli("-o", "json", "prediction", "show", saved[1]["prediction_id"])
    assert (code, json.loads(out)["inputs"]) == (0, ROWS[1])


async def test_cells_that_do_not_fit_are_named_and_nothing_is_predicted(
    run_cli: RunCli, server: Server, models: Models, tmp_path: Path
) -> None:
    await models.register("people", classifier(), task="binary", classes=["poor", "rich"])
    (tmp_path / "bad.csv").write_text("age,hours\n25,secret1\n,3\n4,5\n2.5,1\n")
    assert (await run_cli("deploy", "apply", "wealth", "--model", "people:1"))[0] == 0
    code, out, err = await run_cli("predict", "wealth", "bad.csv")
    assert (code, out) == (1, "")
    for place in ("line 2, column hours", "line 3, column age", "line 5, column age"):
        assert place in err
    assert "secret" not in err
    assert (await run_cli("predict", "nothing", "bad.csv"))[0] == 4
    assert (await run_cli("deploy", "apply", "wealth", "--model", "people@nobody"))[0] == 4


async def test_the_sdk_predicts_and_raises_every_cell_that_is_wrong(
    live_api: LiveApi, server: Server, models: Models, tmp_path: Path, run_cli: RunCli
) -> None:
    await models.register("people", classifier(), task="binary", classes=["poor", "rich"])
    await server.start()

    def use() -> None:
        with Tidemill(live_api.url, live_api.key, server.url) as tidemill:
            tidemill.deployments.apply("wealth", "people:1")
            assert tidemill.deployments.wait("wealth", 20).state == "ready"
            reply = tidemill.predict("wealth", ROWS)
            assert [row.prediction for row in reply.predictions] == ["poor", "rich", "poor"]
            with pytest.raises(Invalid) as wrong:
                tidemill.predict("wealth", [*ROWS, {"age": "old", "hours": True}, {"hours": 1}])
            assert {(p.pointer, p.code) for p in wrong.value.problems} == {
                ("/inputs/3/age", "type_mismatch"),
                ("/inputs/3/hours", "type_mismatch"),
                ("/inputs/4/age", "value_missing"),
            }
            with pytest.raises(NotFound):
                tidemill.predict("nothing", ROWS)

    await asyncio.to_thread(use)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "people.parquet")
    code, out, err = await run_cli(
        "-o", "json", "predict", "wealth", "people.parquet", environment={"TIDEMILL_MODEL_SERVER_URL": server.url}
    )
    assert code == 0, err
    assert [row["prediction"] for row in json.loads(out)] == ["poor", "rich", "poor"]
