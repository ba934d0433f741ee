"""Predictions: of all deployments, and of one."""

from observability.panels import Dashboard, Panel, Query, Row, Variable

_CHOSEN = 'deployment=~"$deployment"'


def _quantile(quantile: float, by: str) -> str:
    buckets = f"rate(tidemill_prediction_duration_seconds_bucket{{{_CHOSEN}}}[5m])"
    return f"histogram_quantile({quantile}, sum by (le, {by}) ({buckets}))"


_REQUESTS = Row(
    "Predictions",
    [
        Panel(
            "Requests by outcome",
            "ok, or the code of the error. Errors of callers are here too.",
            [
                Query(
                    f"sum by (deployment, outcome) (rate(tidemill_prediction_requests_total{{{_CHOSEN}}}[5m]))",
                    "{{deployment}} {{outcome}}",
                )
            ],
            unit="reqps",
            stacked=True,
            logs_of="model-server",
        ),
        Panel(
            "Rows",
            "Predicted and recorded rows.",
            [Query(f"sum by (deployment) (rate(tidemill_prediction_rows_total{{{_CHOSEN}}}[5m]))", "{{deployment}}")],
            unit="rowsps",
        ),
        Panel(
            "Time of a request",
            "Checking, model and ledger, without the network.",
            [
                Query(_quantile(quantile, "deployment"), f"{{{{deployment}}}} p{quantile * 100:g}")
                for quantile in (0.5, 0.99)
            ],
            unit="s",
            steps={0.25: "red"},
            logs_of="model-server",
        ),
    ],
)

_LEDGER = Row(
    "Ledger",
    [
        Panel(
            "Ledger waiting",
            "Bytes that the api has not taken yet, those set aside, and the limit of both together.",
            [
                Query("tidemill_ledger_waiting_bytes", "{{instance}}"),
                Query("tidemill_ledger_set_aside_bytes", "{{instance}} aside"),
                Query("min(tidemill_ledger_limit_bytes)", "limit"),
            ],
            unit="bytes",
        ),
        Panel(
            "Oldest unshipped row",
            "A second or so while all is well.",
            [Query("tidemill_ledger_oldest_unshipped_seconds", "{{instance}}")],
            unit="s",
            steps={300: "red"},
        ),
        Panel(
            "Shipped and stored",
            "Rows that model servers shipped, and what became of them in the api.",
            [
                Query("sum(rate(tidemill_ledger_shipped_rows_total[5m]))", "shipped"),
                Query("sum by (outcome) (rate(tidemill_ledger_rows_total[5m]))", "{{outcome}}"),
                Query("sum(rate(tidemill_ledger_shipping_failures_total[5m]))", "failed shipments"),
            ],
            unit="rowsps",
            logs_of="model-server",
        ),
    ],
)

_SERVERS = Row(
    "Model servers",
    [
        Panel(
            "Loaded deployments",
            "Should be the same on every model server.",
            [Query("tidemill_served_deployments", "{{instance}}")],
        ),
        Panel(
            "Loads of models",
            "By outcome.",
            [
                Query(
                    "sum by (deployment, outcome) (increase(tidemill_model_loads_total[5m]))",
                    "{{deployment}} {{outcome}}",
                )
            ],
            logs_of="model-server",
        ),
        Panel(
            "Age of the snapshot",
            "Time since the api said what to serve.",
            [Query("tidemill_snapshot_age_seconds", "{{instance}}")],
            unit="s",
            steps={60: "red"},
        ),
    ],
)

_DEPLOYMENT = Variable("deployment", "Deployment", "label_values(tidemill_prediction_requests_total, deployment)")

SERVING = Dashboard(
    uid="tidemill-serving",
    title="Serving",
    description="Predictions, the ledger, and the model servers.",
    rows=[_REQUESTS, _LEDGER, _SERVERS],
    variables=[_DEPLOYMENT],
)

_QUALITY = Row(
    "Quality",
    [
        Panel(
            "Live beside holdout",
            "The metric that training optimised, from the latest report, with its 95% interval.",
            [
                Query(
                    f"max by (deployment, metric, measured_on, bound) (tidemill_monitoring_metric{{{_CHOSEN}}})",
                    "{{deployment}} {{metric}} {{measured_on}} {{bound}}",
                )
            ],
            unit="none",
            width=12,
        ),
        Panel(
            "Verdict",
            "Of the latest report: within, below or above the holdout, or not enough labels to tell.",
            [
                Query(
                    f"max by (deployment, verdict) (tidemill_monitoring_verdict{{{_CHOSEN}}})",
                    "{{deployment}} {{verdict}}",
                )
            ],
            kind="state-timeline",
            unit="none",
            width=12,
        ),
        Panel(
            "Label coverage",
            "Share of the report's predictions whose truth is known.",
            [Query(f"max by (deployment) (tidemill_monitoring_label_coverage_ratio{{{_CHOSEN}}})", "{{deployment}}")],
            unit="percentunit",
            maximum=1,
        ),
        Panel(
            "Latest report until",
            "Until when the latest report looked at predictions.",
            [
                Query(
                    f"max by (deployment) (tidemill_monitoring_report_timestamp_seconds{{{_CHOSEN}}}) * 1000",
                    "{{deployment}}",
                )
            ],
            unit="dateTimeFromNow",
            kind="stat",
        ),
        Panel(
            "Feedback",
            "Rows of feedback of all deployments: accepted, duplicate, skipped; unmatched ones are accepted too.",
            [
                Query("sum by (outcome) (rate(tidemill_feedback_rows_total[5m]))", "{{outcome}}"),
                Query("sum(rate(tidemill_feedback_unmatched_total[5m]))", "unmatched"),
                Query("sum(rate(tidemill_feedback_revisions_total[5m]))", "revisions"),
            ],
            unit="rowsps",
            logs_of="api",
        ),
    ],
)

_VERSIONS = Row(
    "Versions",
    [
        Panel(
            "Requests by version",
            "Shows a promotion or a rollback as it happens.",
            [
                Query(
                    f"sum by (model, version) (rate(tidemill_prediction_requests_total{{{_CHOSEN}}}[5m]))",
                    "{{model}} {{version}}",
                )
            ],
            unit="reqps",
            stacked=True,
            width=12,
            logs_of="model-server",
        ),
        Panel(
            "Time by version",
            "99% of the requests were answered within this time.",
            [Query(_quantile(0.99, "model, version"), "{{model}} {{version}}")],
            unit="s",
            width=12,
            logs_of="model-server",
        ),
    ],
)

MODEL = Dashboard(
    uid="tidemill-model",
    title="One model",
    description="Quality and traffic of one deployment.",
    rows=[_QUALITY, _VERSIONS],
    variables=[_DEPLOYMENT],
)
