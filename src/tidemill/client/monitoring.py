"""Monitoring: how good the deployed models really are."""

from collections.abc import Iterator
from datetime import datetime

from tidemill.client.jobs import Jobs
from tidemill.client.pages import iterate
from tidemill.client.transport import Transport, segment
from tidemill.schemas.jobs import Job
from tidemill.schemas.monitoring import Report, ReportSummary

_PATH = "/api/v1/monitoring/reports"


class Monitoring:
    """``tidemill.monitoring``: reports on deployed models."""

    def __init__(self, transport: Transport, jobs: Jobs) -> None:
        self._transport = transport
        self._jobs = jobs

    def report(
        self,
        deployment: str,
        since: datetime | None = None,
        until: datetime | None = None,
        model_version: int | None = None,
        timeout_seconds: float = 1800,
    ) -> Report:
        """Measure a deployment, and wait for the report. As `request_report`; raises DeadlineExceeded."""
        job = self.request_report(deployment, since, until, model_version)
        return self.get_report(str(self._jobs.result(job.id, timeout_seconds)["report_id"]))

    def request_report(
        self,
        deployment: str,
        since: datetime | None = None,
        until: datetime | None = None,
        model_version: int | None = None,
    ) -> Job:
        """Start a report on the predictions with ``since`` <= time < ``until`` (by default the last seven days).

        The job's result holds ``report_id`` for `get_report`. Raises NotFound for an unknown deployment.
        """
        body = {
            "deployment": deployment,
            "since": since.isoformat() if since else None,
            "until": until.isoformat() if until else None,
            "model_version": model_version,
        }
        return Job.model_validate(self._transport.request("POST", _PATH, json=body))

    def get_report(self, report_id: str) -> Report:
        """A finished report. Raises NotFound while its job runs."""
        return Report.model_validate(self._transport.request("GET", f"{_PATH}/{segment(report_id)}"))

    def list_reports(self, deployment: str | None = None) -> Iterator[ReportSummary]:
        """Finished reports, newest first, page by page."""
        return iterate(self._transport, _PATH, ReportSummary, {"deployment": deployment})
