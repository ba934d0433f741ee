"""Routes of training runs and leaderboards."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from tidemill.adapters.object_store import named_sha256
from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope
from tidemill.db.engine import transaction
from tidemill.db.tables.experiments import Run
from tidemill.db.tables.jobs import Job
from tidemill.deps import SessionDep, SessionsDep, StoreDep, require
from tidemill.features.experiments import service
from tidemill.features.jobs.service import JobRoom
from tidemill.kit.errors import Invalid, NotFound
from tidemill.kit.metrics import higher_is_better
from tidemill.kit.names import Name
from tidemill.schemas.experiments import (
    Leaderboard,
    LeaderboardQuery,
    LeaderboardRow,
    RunListQuery,
    TrainingRequest,
    TrainingRun,
    TrainingRunDetail,
    TrainingStarted,
)
from tidemill.schemas.page import Page, decode_token, encode_token
from tidemill.web.document import JOB_LOCATION

router = APIRouter(prefix="/api/v1/training-runs", tags=["training"])
experiments_router = APIRouter(prefix="/api/v1/experiments", tags=["training"])
Reader = Annotated[Principal, Depends(require(Scope.TRAINING_READ))]
Writer = Annotated[Principal, Depends(require(Scope.TRAINING_WRITE))]
_IN_A_JOB: dict[int | str, dict[str, Any]] = {202: {"headers": JOB_LOCATION}}
FigureName = Annotated[str, Path(pattern=r"^[a-z_]{1,64}\.png$")]


@router.post("", operation_id="training_runs_create", status_code=202, responses=_IN_A_JOB, dependencies=[JobRoom])
async def create(body: TrainingRequest, response: Response, session: SessionDep, principal: Writer) -> TrainingStarted:
    """Train a model on a dataset version. Follow the job; its result names the registered model version."""
    started = await service.start(session, body, principal.key_id)
    response.headers["Location"] = f"/api/v1/jobs/{started.job_id}"
    return started


@router.get("", operation_id="training_runs_list")
async def list_runs(
    query: Annotated[RunListQuery, Query()], session: SessionDep, _principal: Reader
) -> Page[TrainingRun]:
    """Runs, newest first."""
    found = await service.list_runs(session, query.filter(), query.page_size, query.after_text())
    items = [TrainingRun.model_validate(_fields(run, job)) for run, job in found.items]
    more = encode_token([items[-1].id]) if found.more else None
    return Page[TrainingRun](items=items, next_page_token=more)


@router.get("/{run_id}", operation_id="training_runs_get")
async def get(run_id: str, sessions: SessionsDep, store: StoreDep, _principal: Reader) -> TrainingRunDetail:
    """One run with its report: leaderboard of candidates, metrics, warnings, the figures' data."""
    async with transaction(sessions) as session:
        run, job = await service.get_run(session, run_id)
    key = run.report_key
    report = json.loads(await store.get(key, named_sha256(key))) if key else None
    extra = {"report": report, "figures": run.figures or []}
    if job is not None:
        extra |= {"progress": job.progress, "error": job.error}
    return TrainingRunDetail.model_validate(_fields(run, job) | extra)


@router.get(
    "/{run_id}/figures/{name}",
    operation_id="training_runs_get_figure",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)
async def get_figure(
    run_id: str, name: FigureName, sessions: SessionsDep, store: StoreDep, _principal: Reader
) -> Response:
    """A figure as PNG."""
    async with transaction(sessions) as session:
        run, _ = await service.get_run(session, run_id)
    key = next((figure["key"] for figure in run.figures or [] if figure["name"] == name), None)
    if key is None:
        raise NotFound("figure_not_found", "The run has no such figure.")
    content = await store.get(key, named_sha256(key))
    return Response(content, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})


@experiments_router.get("/{name}/leaderboard", operation_id="experiments_get_leaderboard")
async def get_leaderboard(
    name: Name, query: Annotated[LeaderboardQuery, Query()], session: SessionDep, _principal: Reader
) -> Leaderboard:
    """Finished runs of an experiment, best first by any metric on their holdouts."""
    after, rank = _position(query.page_token)
    found = await service.leaderboard(session, name, query.sort, query.page_size, after)
    shown = found.runs.items
    more = None
    if found.runs.more:
        more = encode_token([shown[-1][1], shown[-1][0].id, rank + len(shown)])
    return Leaderboard(
        name=name,
        sort=found.sort,
        higher_is_better=higher_is_better(found.sort),
        items=[_row(run, rank + number) for number, (run, _) in enumerate(shown, start=1)],
        next_page_token=more,
    )


def _position(token: str | None) -> tuple[tuple[float, str] | None, int]:
    """Where the page before ended, and how many rows were shown."""
    if token is None:
        return None, 0
    try:
        value, run_id, rank = decode_token(token)
        return (float(value), str(run_id)), int(rank)
    except ValueError:
        raise Invalid("page_token_invalid", "The page token is not one of ours.") from None


def _row(run: Run, rank: int) -> LeaderboardRow:
    assert run.job_id is not None
    assert run.finished_at is not None
    return LeaderboardRow(
        rank=rank,
        run_id=run.id,
        job_id=run.job_id,
        candidate=run.candidate,
        dataset=run.dataset_name,
        dataset_version=run.dataset_version,
        model_version=run.model_version,
        metrics=run.metrics or {},
        finished_at=run.finished_at,
    )


def _last_status(run: Run) -> str:
    """Of a run whose job has been cleared away, which only ended ones are."""
    return "succeeded" if run.finished_at is not None else "failed"


def _fields(run: Run, job: Job | None) -> dict[str, Any]:
    names = (
        "id", "job_id", "dataset_version", "options", "created_at", "created_by", "finished_at", "task", "metric",
        "candidate", "trials", "model_version", "mlflow_run_id",
    )  # fmt: skip
    return {name: getattr(run, name) for name in names} | {
        "name": run.experiment_name,
        "dataset": run.dataset_name,
        "status": job.status if job is not None else _last_status(run),
        "metrics": run.metrics or {},
    }
