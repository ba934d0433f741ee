"""Figures about backups and drills, on ``/metrics`` of the process that schedules them."""

from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge

from tidemill.admin.drill import DrillResult
from tidemill.backup.manifest import Manifest
from tidemill.backup.record import Kind
from tidemill.db.tables.backups import BackupRun
from tidemill.kit.clock import utc_now


class BackupMetrics:
    """A time of 0 says that it never succeeded."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._backup_success = Gauge(
            "tidemill_backup_last_success_timestamp_seconds",
            "When the last backup was finished; 0 if never.",
            registry=registry,
        )
        self._backup_duration = Gauge(
            "tidemill_backup_duration_seconds", "How long the last backup took.", registry=registry
        )
        self._backup_size = Gauge(
            "tidemill_backup_size_bytes", "What the last backup names, unencrypted.", registry=registry
        )
        self._missing = Gauge(
            "tidemill_backup_missing_objects",
            "Objects that rows named and that the store had lost when the last backup was made.",
            registry=registry,
        )
        self._backup_failures = Counter(
            "tidemill_backup_failures_total", "Backups that failed, each attempt counted.", registry=registry
        )
        self._drill_success = Gauge(
            "tidemill_restore_drill_last_success_timestamp_seconds",
            "When the last restore drill passed; 0 if never.",
            registry=registry,
        )
        self._drill_differing = Gauge(
            "tidemill_restore_drill_differing_rows",
            "Golden predictions that the last drill answered differently.",
            registry=registry,
        )
        self._drill_failures = Counter(
            "tidemill_restore_drill_failures_total",
            "Restore drills that failed or did not pass, each attempt counted.",
            registry=registry,
        )

    def remembered(self, kind: Kind, run: BackupRun) -> None:
        """What the database knows of the last success."""
        if kind == "drill":
            self._drill_success.set(run.finished_at.timestamp())
            return
        self._show_backup(run.started_at, run.finished_at, run.size_bytes or 0, int(run.detail.get("missing_count", 0)))

    def backed_up(self, manifest: Manifest) -> None:
        self._show_backup(manifest.created_at, manifest.finished_at, manifest.size_bytes, manifest.missing_count)

    def _show_backup(self, started_at: datetime, finished_at: datetime, size_bytes: int, missing_count: int) -> None:
        self._backup_success.set(finished_at.timestamp())
        self._backup_duration.set((finished_at - started_at).total_seconds())
        self._backup_size.set(size_bytes)
        self._missing.set(missing_count)

    def drilled(self, result: DrillResult) -> None:
        self._drill_differing.set(sum(version.differing for version in result.versions))
        if result.passed:
            self._drill_success.set(utc_now().timestamp())

    def failed(self, kind: Kind) -> None:
        (self._backup_failures if kind == "backup" else self._drill_failures).inc()
