"""What a model server counts. Labels are deployments and versions that are served, never what a caller asked for."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_LATENCY_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LABELS = ("deployment", "model", "version")


class ServingMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._count_predictions(registry)
        self._count_shipping(registry)
        self._look_at_ledger(registry)
        self._look_at_state(registry)

    def _count_predictions(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "tidemill_prediction_requests_total",
            "Prediction requests that reached a model, by outcome: ok or the error's code.",
            (*_LABELS, "outcome"),
            registry=registry,
        )
        self.rows = Counter(
            "tidemill_prediction_rows_total", "Rows predicted and recorded.", _LABELS, registry=registry
        )
        self.duration = Histogram(
            "tidemill_prediction_duration_seconds",
            "Time of a prediction request in the data plane: checking, model, ledger.",
            _LABELS,
            buckets=_LATENCY_BUCKETS_SECONDS,
            registry=registry,
        )
        self.loads = Counter(
            "tidemill_model_loads_total", "Models loaded, by outcome.", ("deployment", "outcome"), registry=registry
        )

    def _count_shipping(self, registry: CollectorRegistry) -> None:
        self.shipped_rows = Counter(
            "tidemill_ledger_shipped_rows_total", "Rows that the api has taken.", registry=registry
        )
        self.shipping_failures = Counter(
            "tidemill_ledger_shipping_failures_total",
            "Shipments of the ledger that the api did not take.",
            registry=registry,
        )

    def _look_at_state(self, registry: CollectorRegistry) -> None:
        self.request_memory_bytes = Gauge(
            "tidemill_request_memory_bytes", "Claimed by the requests that are being answered.", registry=registry
        )
        self.request_memory_limit_bytes = Gauge(
            "tidemill_request_memory_limit_bytes",
            "Requests are refused rather than answered with more memory.",
            registry=registry,
        )
        self.snapshot_age_seconds = Gauge(
            "tidemill_snapshot_age_seconds",
            "Time since the api was asked what to serve and answered.",
            registry=registry,
        )
        self.served_deployments = Gauge(
            "tidemill_served_deployments", "Deployments with a loaded model.", registry=registry
        )

    def _look_at_ledger(self, registry: CollectorRegistry) -> None:
        """Gauges that read their value when they are asked for; main says from where."""
        self.ledger_waiting_bytes = Gauge(
            "tidemill_ledger_waiting_bytes", "Recorded on disk and not shipped yet.", registry=registry
        )
        self.ledger_limit_bytes = Gauge(
            "tidemill_ledger_limit_bytes",
            "Predictions are refused once this much waits or lies aside.",
            registry=registry,
        )
        self.ledger_oldest_unshipped_seconds = Gauge(
            "tidemill_ledger_oldest_unshipped_seconds",
            "Age of the oldest rows not shipped (again) yet.",
            registry=registry,
        )
        self.ledger_rejected_rows = Gauge(
            "tidemill_ledger_rejected_rows", "Rows set aside because they can never be stored.", registry=registry
        )
        self.ledger_retry_rows = Gauge(
            "tidemill_ledger_retry_rows", "Rows set aside that wait to be shipped again.", registry=registry
        )
        self.ledger_lost_rows = Gauge(
            "tidemill_ledger_lost_rows", "Answered rows that damage took from the ledger.", registry=registry
        )
        self.ledger_set_aside_bytes = Gauge(
            "tidemill_ledger_set_aside_bytes",
            "Rows set aside and damaged files; they count towards the limit of the ledger.",
            registry=registry,
        )
        self.ledger_writable = Gauge(
            "tidemill_ledger_writable", "1 while the ledger's disk takes rows, else 0.", registry=registry
        )
        self.quarantined_files = Gauge(
            "tidemill_quarantined_files", "Damaged or foreign files in the quarantine.", registry=registry
        )
