"""Measures a deployment on the predictions whose truth is known. Runs in a child of a worker."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tidemill.kit.reporter import Reporter
from tidemill.schemas.monitoring import Measured, VersionSlice
from tidemill.training.live_rows import Columns, ServedModel, concatenate, read_rows
from tidemill.training.live_slice import measure_slice
from tidemill.training.live_totals import DayTotal, sum_by_day

_MAX_VERSIONS_BY_DAY = 10
"""With more versions only the total has a metric for each day, so that a report takes minutes and not hours."""


class LiveMetricsRequest(BaseModel):
    """``rows``: file of `read_rows`. ``models``: what is known of each key that occurs in it.

    totals: by key and day what the ledger holds, where the rows are samples of it.
    """

    rows: Path
    models: dict[str, ServedModel]
    totals: dict[str, dict[date, DayTotal]] | None = None
    seed: int = 0


def measure(request: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    """Live metrics of each model version and of all together, as `tidemill.schemas.monitoring.Measured`."""
    order = LiveMetricsRequest.model_validate(request)
    reporter.progress("reading predictions")
    columns = read_rows(order.rows, order.models)
    versions = []
    for done, (key, rows) in enumerate(columns.items()):
        reporter.progress("measuring", done, len(columns) + 1)
        model = order.models[key]
        totals = None if order.totals is None else order.totals.get(key, {})
        by_day = len(columns) <= _MAX_VERSIONS_BY_DAY
        part = measure_slice(rows, model, order.seed, metric_by_day=by_day, totals=totals)
        versions.append(VersionSlice(model_name=model.name, model_version=model.number, **part.model_dump()))
    versions.sort(key=lambda version: (version.model_name, version.model_version))
    total = _total(columns, order) if len(versions) != 1 else _without_version(versions[0])
    return Measured.model_validate({"total": total, "versions": versions}).model_dump(mode="json")


def _without_version(version: VersionSlice) -> dict[str, Any]:
    return version.model_dump(exclude={"model_name", "model_version"})


def _total(columns: Mapping[str, Columns], order: LiveMetricsRequest) -> dict[str, Any]:
    """All versions together. They have no common holdout, so there is nothing to compare the live metrics with."""
    if not columns:
        return measure_slice(None, ServedModel(name="", number=0), order.seed).model_dump()
    models = [order.models[key] for key in columns]
    first = models[0]
    alike = all((model.task, model.classes) == (first.task, first.classes) for model in models)
    common = first.model_copy(update={"holdout": {}}) if alike else ServedModel(name="", number=0)
    totals = None if order.totals is None else sum_by_day(list(order.totals.values()))
    if alike:
        rows = concatenate(list(columns.values()))
        total = measure_slice(rows, common, order.seed, totals=totals)
        total.notes.append("Several model versions answered; each has its own holdout, see there.")
    else:
        rows = concatenate([part.without_model() for part in columns.values()])
        total = measure_slice(rows, common, order.seed, totals=totals)
        total.notes.append("The model versions have different tasks or classes, so they have no common metric.")
    return total.model_dump()
