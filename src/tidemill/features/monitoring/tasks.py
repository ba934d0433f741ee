"""The job that makes a monitoring report."""

import asyncio
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from tidemill.db.engine import transaction
from tidemill.features.monitoring import service
from tidemill.features.monitoring.export import Exported, count_unmatched, export_rows, model_key
from tidemill.features.monitoring.service import ReportOrder
from tidemill.features.predictions.service import LedgerWindow
from tidemill.features.registry import service as registry
from tidemill.jobs.definition import JobContext, Progress, TaskDefinition
from tidemill.kit.clock import earlier
from tidemill.kit.errors import NotFound
from tidemill.sandbox.policy import Reach
from tidemill.schemas.monitoring import Measured, ReportContent, ReportCounts

_ENTRY = "tidemill.training.live_metrics:measure"
_UNDERWAY = timedelta(minutes=2)
"""Predictions younger than this may not have been shipped yet."""
_POLLS, _POLL_SECONDS = 20, 0.5


async def make_report(context: JobContext, order: ReportOrder) -> dict[str, Any]:
    """Export, measure in a child, store. A report that is stored already is not made again."""
    if not await _is_stored(context, order.report_id):
        content = await _measured(context, order)
        async with context.transaction() as session:
            await service.store_report(session, order, content, context.job_id, context.principal)
    return {"report_id": order.report_id}


async def _is_stored(context: JobContext, report_id: str) -> bool:
    try:
        async with transaction(context.services.sessions) as session:
            await service.get_report(session, report_id)
    except NotFound:
        return False
    return True


async def _until_arrived(context: JobContext, order: ReportOrder) -> None:
    """Wait a little for predictions that have their truth but are still on a model server's disk."""
    since = max(order.since, earlier(order.until, _UNDERWAY))
    for _ in range(_POLLS):
        unmatched, _ = await count_unmatched(context.services.sessions, since, order.until)
        if unmatched == 0:
            return
        await context.progress(Progress("waiting for the ledger"))
        await asyncio.sleep(_POLL_SECONDS)


async def _measured(context: JobContext, order: ReportOrder) -> ReportContent:
    await _until_arrived(context, order)
    window = LedgerWindow(order.deployment, order.since, order.until, order.model_version)
    async with context.scratch() as directory:
        file = directory / "rows.ndjson"
        exported = await export_rows(context, window, file)
        models = await _models(context, exported.models)
        request = {"rows": str(file), "models": models, "totals": _totals(exported)}
        result = await context.compute(_ENTRY, request, Reach(read=(directory,)))
    await context.progress(Progress("matching feedback"))
    unmatched, all_seen = await count_unmatched(context.services.sessions, order.since, order.until)
    return _content(Measured.model_validate(result), exported, unmatched, all_seen)


async def _models(context: JobContext, found: set[tuple[str, int]]) -> dict[str, dict[str, Any]]:
    """What the child must know of each model version; one that the registry does not know has only counts."""
    models: dict[str, dict[str, Any]] = {}
    async with transaction(context.services.sessions) as session:
        for name, number in sorted(found):
            version = await registry.find_version(session, name, number)
            known = {
                "task": version.task, "classes": version.classes, "metric": version.metric, "holdout": version.metrics,
            } if version else {}  # fmt: skip
            models[model_key(name, number)] = {"name": name, "number": number, **known}
    return models


def _totals(exported: Exported) -> dict[str, dict[str, dict[str, int]]] | None:
    if exported.totals is None:
        return None
    return {
        key: {day.isoformat(): asdict(total) for day, total in days.items()} for key, days in exported.totals.items()
    }


def _content(measured: Measured, exported: Exported, unmatched: int, all_feedback_seen: bool) -> ReportContent:
    notes = list(_sampling_notes(exported))
    if not all_feedback_seen:
        notes.append("There is more feedback than was searched; the number of unmatched ones is a lower bound.")
    counts = ReportCounts(
        predictions=exported.predictions,
        rows_read=exported.rows_read,
        labelled=measured.total.labelled,
        labelled_interval=measured.total.labelled_interval,
        coverage_percent=measured.total.coverage_percent,
        unmatched_feedback=unmatched,
        revisions=exported.revisions,
    )
    return ReportContent(counts=counts, total=measured.total, versions=measured.versions, notes=notes)


def _sampling_notes(exported: Exported) -> Iterator[str]:
    if exported.totals is None:
        return
    yield (
        "There are more predictions than a report reads. Predictions, truths and revisions are counted exactly; what "
        f"is said of the scores of all predictions is scaled from a random sample of {exported.uniform_rows}."
    )
    if exported.truths_read < exported.truths:
        yield (
            f"Live metrics and counts of labelled rows are of a random sample of {exported.truths_read} of the "
            f"{exported.truths} predictions with a truth."
        )
    else:
        yield f"Every one of the {exported.truths} predictions with a truth was looked at."


REPORT = TaskDefinition(
    kind=service.REPORT.kind,
    queue=service.REPORT.queue,
    payload=ReportOrder,
    run=make_report,
    timeout_seconds=service.REPORT.timeout_seconds,
)
