"""Routes and commands of training that need no training."""

import json
from datetime import UTC, datetime

import httpx

from tests.integration.conftest import MakeKey, RunCli, RunJobs
from tests.integration.experiments.conftest import PushDataset
from tests.integration.experiments.data import loans
from tidemill.auth.scopes import Scope
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.experiments import Experiment, Run, RunMetric
from tidemill.db.tables.jobs import Job
from tidemill.kit import ids

RUNS = "/api/v1/training-runs"
BOARD = "/api/v1/experiments/rides-count/leaderboard"


async def add_runs(sessions: SessionFactory, metrics: list[dict[str, float]], sort: str = "rmse") -> list[str]:
    made = []
    async with transaction(sessions) as session:
        session.add(Experiment(id="exp_1", name="rides-count", created_by="key_1"))
        await session.flush()
        for found in metrics:
            job = Job(
                id=ids.new_id(ids.JOB), kind="training.run", queue="training", status="succeeded", payload={},
                timeout_seconds=1, principal="key_1",
            )  # fmt: skip
            run = Run(
                id=ids.new_id(ids.RUN), experiment_id="exp_1", experiment_name="rides-count", job_id=job.id,
                dataset_name="rides", dataset_version_id="dsv_1", dataset_version=1, dataset_sha256="0" * 64,
                options={"target": "count"}, created_by="key_1", finished_at=datetime.now(UTC), task="regression",
                metric=sort, candidate="lightgbm", trials=1, model_version=1,
                metrics={name: {"value": value, "low": value, "high": value} for name, value in found.items()},
            )  # fmt: skip
            session.add_all([job, run])
            await session.flush()
            session.add_all(
                RunMetric(run_id=run.id, experiment_id="exp_1", name=name, value=value) for name, value in found.items()
            )
            made.append(run.id)
    return made


async def test_leaderboards_sort_by_any_metric_best_first_page_by_page(
    api: httpx.AsyncClient, sessions: SessionFactory
) -> None:
    runs = await add_runs(sessions, [{"rmse": 3.0, "r2": 0.3}, {"rmse": 1.0, "r2": 0.5}, {"rmse": 1.0, "r2": 0.9}])
    first = (await api.get(BOARD, params={"page_size": 2})).json()
    assert (first["sort"], first["higher_is_better"]) == ("rmse", False)
    rest = (await api.get(BOARD, params={"page_size": 2, "page_token": first["next_page_token"]})).json()
    assert [row["run_id"] for row in [*first["items"], *rest["items"]]] == [runs[1], runs[2], runs[0]]
    assert [row["rank"] for row in [*first["items"], *rest["items"]]] == [1, 2, 3]
    assert rest["next_page_token"] is None
    by_r2 = (await api.get(BOARD, params={"sort": "r2"})).json()
    assert [row["run_id"] for row in by_r2["items"]] == [runs[2], runs[1], runs[0]]
    assert (await api.get(BOARD, params={"page_token": "bm9wZQ"})).status_code == 422
    assert (await api.get("/api/v1/experiments/none/leaderboard")).status_code == 404
    unknown = await api.get(BOARD, params={"sort": "rmes"})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "metric_unfit")
    assert "Did you mean rmse?" in unknown.json()["detail"]


async def test_runs_are_listed_newest_first_and_filtered(api: httpx.AsyncClient, sessions: SessionFactory) -> None:
    runs = await add_runs(sessions, [{"rmse": 1.0}, {"rmse": 2.0}])
    page = (await api.get(RUNS, params={"name": "rides-count", "page_size": 1})).json()
    assert [run["id"] for run in page["items"]] == [runs[1]]
    assert page["items"][0]["status"] == "succeeded"
    rest = (await api.get(RUNS, params={"page_size": 1, "page_token": page["next_page_token"]})).json()
    assert [run["id"] for run in rest["items"]] == [runs[0]]
    assert (await api.get(RUNS, params={"dataset": "other"})).json()["items"] == []


async def test_unknown_names_are_refused_when_a_run_is_asked_for(
    api: httpx.AsyncClient, push_dataset: PushDataset
) -> None:
    await push_dataset("loans", loans(60))
    unknown = await api.post(RUNS, json={"dataset": "loans", "target": "goood"})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "column_unknown")
    assert "Did you mean good?" in unknown.json()["detail"]
    for wrong in ({"metric": "roc"}, {"metric": "rmse", "task": "binary"}):
        unfit = await api.post(RUNS, json={"dataset": "loans", "target": "good"} | wrong)
        assert (unfit.status_code, unfit.json()["code"]) == (422, "metric_unfit")
    assert (await api.post(RUNS, json={"dataset": "loan", "target": "good"})).json()["code"] == "dataset_not_found"
    both = {"dataset": "loans", "target": "good", "time_column": "joined", "group_column": "town"}
    assert (await api.post(RUNS, json=both)).status_code == 422
    assert (await api.get(f"{RUNS}/run_0")).status_code == 404
    assert (await api.get(f"{RUNS}/run_0/figures/roc.png")).status_code == 404


async def test_training_needs_its_scopes(anonymous_api: httpx.AsyncClient, make_key: MakeKey) -> None:
    assert (await anonymous_api.get(RUNS)).status_code == 401
    reader = {"Authorization": f"Bearer {await make_key(Scope.TRAINING_READ)}"}
    assert (await anonymous_api.get(RUNS, headers=reader)).status_code == 200
    wanted = {"dataset": "loans", "target": "good"}
    assert (await anonymous_api.post(RUNS, json=wanted, headers=reader)).status_code == 403


async def test_a_target_that_cannot_be_learned_fails_the_job_by_name(
    api: httpx.AsyncClient, push_dataset: PushDataset, run_jobs: RunJobs
) -> None:
    await push_dataset("loans", b"x,y\n" + b"".join(b"%d,secret\n" % number for number in range(60)))
    started = (await api.post(RUNS, json={"dataset": "loans", "target": "y", "trials": 1})).json()
    await run_jobs()
    job = (await api.get(f"/api/v1/jobs/{started['job_id']}")).json()
    assert (job["status"], job["error"]["code"], job["attempt"]) == ("failed", "target_constant", 1)
    assert job["error"]["problems"][0]["pointer"] == "column y"
    assert "secret" not in json.dumps(job)


async def test_the_command_line_submits_lists_and_ranks(
    run_cli: RunCli, sessions: SessionFactory, push_dataset: PushDataset
) -> None:
    await push_dataset("loans", loans(60))
    code, out, _ = await run_cli("--output", "json", "train", "submit", "loans", "--target", "good", "--no-wait")
    started = json.loads(out)
    assert (code, started["name"]) == (0, "loans-good")
    code, out, _ = await run_cli("train", "list")
    assert code == 0
    assert started["run_id"] in out
    assert "queued" in out
    await add_runs(sessions, [{"rmse": 1.0}])
    assert "1.0000 (1.0000 to 1.0000)" in (await run_cli("train", "list"))[1]
    code, out, _ = await run_cli("train", "leaderboard", "rides-count")
    assert code == 0
    assert "1.0000 (1.0000 to 1.0000)" in out
    code, _, err = await run_cli("train", "submit", "loans", "--target", "goood")
    assert code == 1
    assert "Did you mean good?" in err
