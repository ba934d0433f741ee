"""Is all well? And if not, where to look."""

from observability.panels import Dashboard, Panel, Query, Row

_API = 'job="api",route!~"/livez|/readyz|/metrics"'

_NOW = Row(
    "Now",
    [
        Panel(
            "Firing alerts",
            "Critical and warning alerts that fire now. Each has a page in docs/runbooks.",
            [Query('count(ALERTS{alertstate="firing",severity=~"critical|warning"}) or vector(0)')],
            steps={1: "yellow", 3: "red"},
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            "Api replicas",
            "Processes of the api that answer Prometheus.",
            [Query('sum(up{job="api"})')],
            steps={float("-inf"): "red", 1: "green"},
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            "Model servers",
            "Processes that answer predictions.",
            [Query('sum(up{job="model-server"})')],
            steps={float("-inf"): "red", 1: "green"},
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            "Workers alive",
            "Workers that sent a heartbeat lately.",
            [Query("max(tidemill_workers_alive)")],
            steps={float("-inf"): "red", 1: "green"},
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            "Last backup",
            "When a backup last succeeded.",
            [Query("max(tidemill_backup_last_success_timestamp_seconds) * 1000")],
            unit="dateTimeFromNow",
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            "Certificate expires",
            "Until when the TLS certificate that callers see is valid.",
            [Query("min(tidemill_certificate_expiry_timestamp_seconds) * 1000")],
            unit="dateTimeFromNow",
            kind="stat",
            width=4,
            height=4,
        ),
    ],
)

_OBJECTIVES = Row(
    "Objectives",
    [
        Panel(
            "Burn rate",
            "Error ratio of the last hour over the budget: at 1 the budget of 30 days lasts exactly 30 days.",
            [Query("tidemill:slo_errors:ratio_rate1h / on (objective) tidemill:slo_budget:ratio", "{{objective}}")],
            steps={1: "yellow", 14.4: "red"},
            width=12,
        ),
        Panel(
            "Error ratio",
            "Share of requests that missed the objective, over five minutes.",
            [Query("tidemill:slo_errors:ratio_rate5m", "{{objective}}")],
            unit="percentunit",
            width=12,
        ),
    ],
)

_TRAFFIC = Row(
    "Traffic",
    [
        Panel(
            "Predictions",
            "Requests to models, all deployments together.",
            [Query("sum by (outcome) (rate(tidemill_prediction_requests_total[5m]))", "{{outcome}}")],
            unit="reqps",
            stacked=True,
            logs_of="model-server",
        ),
        Panel(
            "Api requests by status",
            "Requests to the api without those of probes.",
            [Query(f"sum by (status) (rate(tidemill_http_requests_total{{{_API}}}[5m]))", "{{status}}")],
            unit="reqps",
            stacked=True,
            logs_of="api",
        ),
        Panel(
            "Connections to Nginx",
            "Open connections of callers.",
            [Query("nginx_connections_active", "active"), Query("nginx_connections_waiting", "idle")],
            logs_of="nginx",
        ),
    ],
)

_PARTS = Row(
    "Parts",
    [
        Panel(
            "What the platform depends on",
            "1 while PostgreSQL, the object store and MLflow answer the api.",
            [Query("max by (dependency) (tidemill_dependency_up)", "{{dependency}}")],
            kind="state-timeline",
            steps={float("-inf"): "red", 1: "green"},
            unit="none",
        ),
        Panel(
            "Memory by process",
            "Resident memory.",
            [Query('process_resident_memory_bytes{job=~"api|model-server|worker|backup"}', "{{job}} {{instance}}")],
            unit="bytes",
        ),
        Panel(
            "CPU by process",
            "Cores in use.",
            [
                Query(
                    'rate(process_cpu_seconds_total{job=~"api|model-server|worker|backup"}[5m])',
                    "{{job}} {{instance}}",
                )
            ],
        ),
        Panel(
            "Disk free",
            "Share of each of the host's disks that is free.",
            [
                Query(
                    'node_filesystem_avail_bytes{fstype!~"tmpfs|overlay|squashfs"} / node_filesystem_size_bytes',
                    "{{mountpoint}}",
                )
            ],
            unit="percentunit",
            steps={float("-inf"): "red", 0.07: "yellow", 0.3: "green"},
            maximum=1,
        ),
        Panel(
            "Memory free",
            "Share of the host's memory that is available.",
            [Query("node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes", "available")],
            unit="percentunit",
            maximum=1,
        ),
        Panel(
            "Versions",
            "Processes by version of Tidemill: more than one line only while a deployment is under way.",
            [Query("count by (version) (tidemill_build_info)", "{{version}}")],
        ),
    ],
)

OVERVIEW = Dashboard(
    uid="tidemill-overview",
    title="Overview",
    description="Is all well? And if not, where to look.",
    rows=[_NOW, _OBJECTIVES, _TRAFFIC, _PARTS],
)
