"""The latest monitoring report of each deployment as metrics: live beside holdout, always with the interval."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

MAX_DEPLOYMENTS = 200
"""Of more deployments, the first by name are shown: a bound on labels."""
_LATEST = text(
    """
    SELECT latest.id FROM deployments
    CROSS JOIN LATERAL (
        SELECT id FROM monitoring_reports AS report
        WHERE report.deployment = deployments.name AND report.model_version IS NULL
        ORDER BY id DESC LIMIT 1
    ) AS latest
    ORDER BY deployments.name LIMIT :limit
    """
)
_CONTENT = text(
    """
    SELECT id, deployment, extract(epoch FROM until) AS until, content #>> '{total,metric}' AS metric,
           content #>> '{total,verdict}' AS verdict, content #> '{total,metrics}' AS metrics,
           content #>> '{total,coverage_percent}' AS coverage_percent
    FROM monitoring_reports WHERE id = ANY (:ids)
    """
)
_BOUNDS = ("value", "low", "high")


@dataclass(frozen=True)
class _Found:
    deployment: str
    until: float
    metric: str | None
    verdict: str
    coverage_ratio: float
    live: dict[str, Any] | None
    holdout: dict[str, Any] | None


@dataclass
class LiveFigures:
    """Reads a report once: what was read before is kept while it is some deployment's latest."""

    _known: dict[str, _Found] = field(default_factory=dict)

    async def read(self, session: AsyncSession) -> list[Metric]:
        """Metrics of every deployment that has a report on all its versions."""
        latest = list(await session.scalars(_LATEST, {"limit": MAX_DEPLOYMENTS}))
        known = {report_id: self._known[report_id] for report_id in latest if report_id in self._known}
        unknown = [report_id for report_id in latest if report_id not in known]
        if unknown:
            rows = await session.execute(_CONTENT, {"ids": unknown})
            known |= {row.id: _found(row) for row in rows}
        self._known = known
        return _families(known.values())


def _found(row: Any) -> _Found:
    measured = next((metric for metric in row.metrics or [] if metric["name"] == row.metric), None)
    return _Found(
        deployment=row.deployment,
        until=float(row.until),
        metric=row.metric,
        verdict=row.verdict,
        coverage_ratio=float(row.coverage_percent) / 100,
        live=measured["live"] if measured else None,
        holdout=measured["holdout"] if measured else None,
    )


def _families(found: Iterable[_Found]) -> list[Metric]:
    measured = GaugeMetricFamily(
        "tidemill_monitoring_metric",
        "The metric that training optimised, live and on the holdout, with its 95% interval.",
        labels=("deployment", "metric", "measured_on", "bound"),
    )
    verdict = GaugeMetricFamily(
        "tidemill_monitoring_verdict",
        "1 for the verdict of the latest report.",
        labels=("deployment", "verdict"),
    )
    coverage = GaugeMetricFamily(
        "tidemill_monitoring_label_coverage_ratio",
        "Share of the report's predictions whose truth is known.",
        labels=("deployment",),
    )
    until = GaugeMetricFamily(
        "tidemill_monitoring_report_timestamp_seconds",
        "Until when the latest report looked at predictions.",
        labels=("deployment",),
    )
    for entry in found:
        verdict.add_metric([entry.deployment, entry.verdict], 1)
        coverage.add_metric([entry.deployment], entry.coverage_ratio)
        until.add_metric([entry.deployment], entry.until)
        _add_intervals(measured, entry)
    return [measured, verdict, coverage, until]


def _add_intervals(family: GaugeMetricFamily, entry: _Found) -> None:
    for measured_on, interval in (("live", entry.live), ("holdout", entry.holdout)):
        for bound in _BOUNDS:
            if interval is not None and entry.metric is not None and interval[bound] is not None:
                family.add_metric([entry.deployment, entry.metric, measured_on, bound], interval[bound])
