"""How good the models are on real data, and that the same request gives the same model.

One trial of the search's known beginning: a run of the default two minutes starts with it and can only do better.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from tests.unit.training.tables import SilentReporter, people
from tidemill.schemas.experiments import TrainingOptions
from tidemill.training.entry import train
from tidemill.training.preparation import prepare

# MLflow warns while it is imported, and about whole numbers in signatures.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def run(parts: Path, output: Path, **options: Any) -> dict[str, Any]:
    output.mkdir()
    order = {
        "job_id": "job_test",
        "model_name": "test",
        "dataset": {"name": "test", "number": 1, "version_id": "dsv_test", "sha256": "0" * 64},
        "options": {"trials": 1, **options},
        "parts": [str(parts)],
        "output": str(output),
    }
    train(order, SilentReporter(output))
    return dict(json.loads((output / "report.json").read_text()))


def converted(file: Path, folder: Path) -> Path:
    options = csv.ConvertOptions(null_values=["", "NA", "?"], strings_can_be_null=True)
    pq.write_table(csv.read_csv(file, convert_options=options), folder / "part.parquet")
    return folder / "part.parquet"


def codes(report: dict[str, Any]) -> dict[str, list[str]]:
    return {warning["code"]: warning["columns"] for warning in report["warnings"]}


def test_census_income_reaches_its_goal(shared_data: Path, tmp_path: Path) -> None:
    report = run(converted(shared_data / "adult.csv", tmp_path), tmp_path / "out", target="income")
    assert report["metrics"]["roc_auc"]["value"] >= 0.925


def test_bike_rentals_reach_their_goal_without_the_leaking_columns(shared_data: Path, tmp_path: Path) -> None:
    parts = converted(shared_data / "bike_hour.csv", tmp_path)
    report = run(parts, tmp_path / "out", target="cnt", exclude=["casual", "registered"])
    assert report["metrics"]["r2"]["value"] >= 0.93
    assert "columns_sum_to_target" not in codes(report)


def test_the_leaking_columns_of_bike_rentals_are_named(shared_data: Path, tmp_path: Path) -> None:
    parts = converted(shared_data / "bike_hour.csv", tmp_path)
    findings = prepare([parts], TrainingOptions(target="cnt"), threads=2).findings
    found = {finding.code: list(finding.columns) for finding in findings}
    assert found["columns_sum_to_target"] == ["casual", "registered"]
    assert found["column_predicts_target"] == ["registered"]


@pytest.mark.parametrize(("target", "left_out"), [("good", ["score", "grade"]), ("score", ["good", "grade"])])
def test_the_same_request_gives_the_same_model(target: str, left_out: list[str], tmp_path: Path) -> None:
    people().to_parquet(tmp_path / "part.parquet")
    options = {"target": target, "exclude": left_out, "trials": 6, "time_column": "joined", "seed": 7}
    first = run(tmp_path / "part.parquet", tmp_path / "one", **options)
    second = run(tmp_path / "part.parquet", tmp_path / "two", **options)
    one, two = (pq.read_table(tmp_path / name / "holdout.parquet") for name in ("one", "two"))
    assert one.equals(two)
    assert first["metrics"] == second["metrics"]
    assert [trial["score"] for trial in first["trials"]] == [trial["score"] for trial in second["trials"]]
