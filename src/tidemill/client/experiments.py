"""Training runs and leaderboards."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tidemill.client.jobs import Jobs, OnEvent
from tidemill.client.pages import iterate
from tidemill.client.transport import Transport, segment
from tidemill.schemas.experiments import (
    Leaderboard,
    Task,
    TrainingRequest,
    TrainingRun,
    TrainingRunDetail,
    TrainingStarted,
)
from tidemill.schemas.jobs import Job

_RUNS = "/api/v1/training-runs"


class Experiments:
    """``tidemill.experiments``: training runs, their reports and leaderboards."""

    def __init__(self, transport: Transport, jobs: Jobs) -> None:
        self._transport = transport
        self._jobs = jobs

    def start(
        self,
        dataset: str,
        target: str,
        *,
        name: str | None = None,
        dataset_version: int | None = None,
        task: Task | None = None,
        metric: str | None = None,
        time_column: str | None = None,
        group_column: str | None = None,
        exclude: Sequence[str] = (),
        holdout_share: float = 0.2,
        trials: int | None = None,
        time_budget_seconds: float | None = None,
        seed: int = 0,
        timeout_seconds: float | None = None,
        priority: int = 0,
        idempotency_key: str | None = None,
    ) -> TrainingStarted:
        """Start a training run and return at once; see `tidemill.schemas.experiments.TrainingRequest`.

        Without ``trials`` and ``time_budget_seconds`` it takes two minutes. Raises NotFound for an unknown dataset and
        Invalid for unknown columns; what only the data shows (a constant target, say) is the job's error.
        """
        request = TrainingRequest(
            dataset=dataset, target=target, name=name, dataset_version=dataset_version, task=task, metric=metric,
            time_column=time_column, group_column=group_column, exclude=list(exclude),
            holdout_share=holdout_share, trials=trials, time_budget_seconds=time_budget_seconds, seed=seed,
            timeout_seconds=timeout_seconds, priority=priority,
        )  # fmt: skip
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
        body = request.model_dump(mode="json", exclude_none=True)
        return TrainingStarted.model_validate(self._transport.request("POST", _RUNS, json=body, headers=headers))

    def wait(
        self, started: TrainingStarted, timeout_seconds: float | None = None, on_event: OnEvent | None = None
    ) -> TrainingRunDetail:
        """The finished run with its report, once the gate has decided about its model version as well.

        Raises the job's own error if it failed, DeadlineExceeded when too long.
        """
        begun = time.monotonic()
        self._jobs.result(started.job_id, timeout_seconds, on_event)
        run = self.get(started.run_id)
        gate = self.gate_job(run)
        if gate is not None:
            left = None if timeout_seconds is None else max(0.0, timeout_seconds - (time.monotonic() - begun))
            self._jobs.wait(gate.id, left)
        return run

    def gate_job(self, run: TrainingRun) -> Job | None:
        """The newest job of the gate of the run's model; one is enqueued when a version is registered."""
        return next(self._jobs.list(kind="registry.gate", subject=f"model/{run.name}"), None)

    def get(self, run_id: str) -> TrainingRunDetail:
        """A run with its report once it has succeeded. Raises NotFound."""
        return TrainingRunDetail.model_validate(self._transport.request("GET", f"{_RUNS}/{segment(run_id)}"))

    def list(self, name: str | None = None, dataset: str | None = None) -> Iterator[TrainingRun]:
        """Runs, newest first, page by page."""
        return iterate(self._transport, _RUNS, TrainingRun, {"name": name, "dataset": dataset})

    def leaderboard(
        self, name: str, sort: str | None = None, page_size: int = 50, page_token: str | None = None
    ) -> Leaderboard:
        """Finished runs of an experiment, best first by any metric. Raises NotFound."""
        params = {"sort": sort, "page_size": page_size, "page_token": page_token}
        path = f"/api/v1/experiments/{segment(name)}/leaderboard"
        return Leaderboard.model_validate(self._transport.request("GET", path, params=params))

    def download_figures(self, run: TrainingRunDetail, folder: Path) -> "Sequence[Path]":
        """Write the run's figures as PNG files into ``folder``, which is created."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for figure in run.figures:
            path = folder / figure.name
            path.write_bytes(self._transport.send("GET", f"{_RUNS}/{run.id}/figures/{figure.name}").content)
            paths.append(path)
        return paths
