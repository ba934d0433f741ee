"""Jobs, workers, and what they work on. Figures of the database are the same on every api, hence the maximum."""

from observability.panels import Dashboard, Panel, Query, Row

_WAITING = Row(
    "Waiting",
    [
        Panel(
            "Backlog",
            "Jobs that could start now, by queue.",
            [Query("max by (queue) (tidemill_job_queue_jobs)", "{{queue}}")],
            stacked=True,
        ),
        Panel(
            "Oldest waiting job",
            "How long the oldest job that could start has been waiting.",
            [Query("max by (queue) (tidemill_job_queue_oldest_seconds)", "{{queue}}")],
            unit="s",
            steps={900: "red"},
            logs_of="worker",
        ),
        Panel(
            "Open jobs",
            "Jobs that have not ended, and running ones that lost their worker.",
            [
                Query("max by (status) (tidemill_jobs_open)", "{{status}}"),
                Query("max(tidemill_jobs_stalled)", "stalled"),
            ],
        ),
    ],
)

_RUNNING = Row(
    "Running",
    [
        Panel(
            "Attempts ended",
            "By kind and outcome; queued will be tried again.",
            [
                Query(
                    "sum by (kind, outcome) (increase(tidemill_jobs_finished_total[15m]))",
                    "{{kind}} {{outcome}}",
                )
            ],
            stacked=True,
            width=12,
            logs_of="worker",
        ),
        Panel(
            "Time of an attempt",
            "95% of the attempts of a kind ended within this time.",
            [
                Query(
                    "histogram_quantile(0.95, sum by (le, kind) (rate(tidemill_job_duration_seconds_bucket[1h])))",
                    "{{kind}}",
                )
            ],
            unit="s",
            width=12,
            logs_of="worker",
        ),
        Panel(
            "Running attempts",
            "On each worker.",
            [Query("tidemill_jobs_running", "{{instance}}")],
            stacked=True,
        ),
        Panel(
            "Workers",
            "Workers that sent a heartbeat lately, and jobs that were taken over from lost ones.",
            [
                Query("max(tidemill_workers_alive)", "alive"),
                Query("sum(increase(tidemill_jobs_taken_over_total[15m]))", "jobs taken over"),
            ],
            logs_of="worker",
        ),
        Panel(
            "Started",
            "Attempts begun.",
            [Query("sum by (kind) (rate(tidemill_jobs_started_total[5m]))", "{{kind}}")],
            unit="ops",
        ),
    ],
)

_RESULTS = Row(
    "Results",
    [
        Panel(
            "Gate decisions",
            "Over one day.",
            [Query("max by (outcome) (increase(tidemill_gate_decisions_total[1d]))", "{{outcome}}")],
        ),
        Panel(
            "Alias moves",
            "Over one day, by what caused them.",
            [Query("max by (alias, kind) (increase(tidemill_alias_moves_total[1d])) > 0", "{{alias}} {{kind}}")],
        ),
        Panel(
            "Versions",
            "Dataset versions and model versions there are.",
            [
                Query("max(tidemill_dataset_versions)", "dataset versions"),
                Query("max(tidemill_model_versions)", "model versions"),
            ],
        ),
        Panel(
            "Data",
            "Raw bytes of all ready dataset versions.",
            [Query("max(tidemill_dataset_raw_bytes)", "bytes")],
            unit="bytes",
        ),
        Panel(
            "Rows",
            "Rows of all ready dataset versions.",
            [Query("max(tidemill_dataset_rows)", "rows")],
        ),
    ],
)

JOBS = Dashboard(
    uid="tidemill-jobs",
    title="Jobs",
    description="Jobs, workers, and what they work on.",
    rows=[_WAITING, _RUNNING, _RESULTS],
)
