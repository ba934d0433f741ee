"""Figures of jobs, on the worker's ``/metrics``."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_DURATION_BUCKETS_SECONDS = (0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400)


class JobMetrics:
    """``kind`` and ``queue`` come from the registered tasks, ``outcome`` from a closed list, so labels stay few."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.started = Counter("tidemill_jobs_started_total", "Attempts begun.", ("kind",), registry=registry)
        self.finished = Counter(
            "tidemill_jobs_finished_total",
            "Attempts ended: succeeded, failed, cancelled, queued (will be tried again), overtaken.",
            ("kind", "outcome"),
            registry=registry,
        )
        self.duration = Histogram(
            "tidemill_job_duration_seconds",
            "Time of one attempt.",
            ("kind",),
            buckets=_DURATION_BUCKETS_SECONDS,
            registry=registry,
        )
        self.taken_over = Counter(
            "tidemill_jobs_taken_over_total", "Jobs taken from workers that fell silent.", registry=registry
        )
        self.running = Gauge("tidemill_jobs_running", "Attempts running in this worker.", registry=registry)
