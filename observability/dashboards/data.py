"""What keeps the data: PostgreSQL, the object store, and MLflow as the platform sees it."""

from observability.panels import Dashboard, Panel, Query, Row

_CONNECTIONS = Row(
    "Connections",
    [
        Panel(
            "Connections",
            "Open connections by database, and how many there may be.",
            [
                Query("pg_stat_database_numbackends", "{{datname}}"),
                Query("pg_settings_max_connections", "limit"),
            ],
            logs_of="postgres",
        ),
        Panel(
            "Connections by process",
            "Share of its pool that each process uses.",
            [
                Query(
                    "tidemill_database_connections_in_use / tidemill_database_connections_limit",
                    "{{job}} {{instance}}",
                )
            ],
            unit="percentunit",
            steps={0.9: "red"},
            maximum=1,
        ),
        Panel(
            "Longest transaction",
            "Transactions that stay open keep dead rows from being removed.",
            [Query('max by (datname) (pg_stat_activity_max_tx_duration{state!="idle"})', "{{datname}}")],
            unit="s",
            steps={3600: "red"},
        ),
    ],
)

_WORK = Row(
    "Work",
    [
        Panel(
            "Transactions",
            "Committed and rolled back.",
            [
                Query("sum(rate(pg_stat_database_xact_commit[5m]))", "committed"),
                Query("sum(rate(pg_stat_database_xact_rollback[5m]))", "rolled back"),
            ],
            unit="ops",
        ),
        Panel(
            "Cache hits",
            "Share of pages found in shared_buffers.",
            [
                Query(
                    "sum(rate(pg_stat_database_blks_hit[5m])) / "
                    "(sum(rate(pg_stat_database_blks_hit[5m])) + sum(rate(pg_stat_database_blks_read[5m])))",
                    "hits",
                )
            ],
            unit="percentunit",
            maximum=1,
        ),
        Panel(
            "Rows written",
            "Inserted, updated and deleted in the platform's database.",
            [
                Query('rate(pg_stat_database_tup_inserted{datname="tidemill"}[5m])', "inserted"),
                Query('rate(pg_stat_database_tup_updated{datname="tidemill"}[5m])', "updated"),
                Query('rate(pg_stat_database_tup_deleted{datname="tidemill"}[5m])', "deleted"),
            ],
            unit="rowsps",
        ),
        Panel(
            "Size",
            "Of each database.",
            [Query("pg_database_size_bytes", "{{datname}}")],
            unit="bytes",
        ),
        Panel(
            "Deadlocks and temporary files",
            "Both should stay at nought; temporary files mean that work_mem is too small.",
            [
                Query("sum(increase(pg_stat_database_deadlocks[15m]))", "deadlocks"),
                Query("sum(increase(pg_stat_database_temp_files[15m]))", "temporary files"),
            ],
        ),
    ],
)

POSTGRESQL = Dashboard(
    uid="tidemill-postgresql",
    title="PostgreSQL",
    description="Connections, work and size of the databases.",
    rows=[_CONNECTIONS, _WORK],
)


def _calls(server: str, title: str) -> list[Panel]:
    requests, duration = f"tidemill_{server}_requests_total", f"tidemill_{server}_request_duration_seconds_bucket"
    return [
        Panel(
            f"Calls to {title}",
            "By operation and outcome; retries are part of one call.",
            [Query(f"sum by (operation, outcome) (rate({requests}[5m]))", "{{operation}} {{outcome}}")],
            unit="ops",
            stacked=True,
            width=12,
            logs_of="worker",
        ),
        Panel(
            f"Time of a call to {title}",
            "95% of the calls ended within this time.",
            [
                Query(
                    f"histogram_quantile(0.95, sum by (le, operation) (rate({duration}[5m])))",
                    "{{operation}}",
                )
            ],
            unit="s",
            width=12,
        ),
    ]


_MINIO = Row(
    "MinIO",
    [
        Panel(
            "Space",
            "Usable space of the object store.",
            [
                Query("minio_cluster_capacity_usable_total_bytes", "total"),
                Query("minio_cluster_capacity_usable_free_bytes", "free"),
            ],
            unit="bytes",
        ),
        Panel(
            "Requests",
            "As MinIO counts them, MLflow's included.",
            [Query("sum by (api) (rate(minio_s3_requests_total[5m]))", "{{api}}")],
            unit="reqps",
            logs_of="object-store",
        ),
        Panel(
            "Errors",
            "Requests that MinIO answered with 5xx.",
            [Query("sum(rate(minio_s3_requests_5xx_errors_total[5m])) or vector(0)", "5xx")],
            unit="reqps",
            logs_of="object-store",
        ),
    ],
)

OBJECT_STORE = Dashboard(
    uid="tidemill-object-store",
    title="Object store",
    description="The object store and MLflow, as the platform sees them, and MinIO's own figures.",
    rows=[
        Row("Object store", _calls("object_store", "the object store")),
        _MINIO,
        Row("MLflow", _calls("mlflow", "MLflow")),
    ],
)
