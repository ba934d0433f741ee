"""Log lines of every service, and all lines of one request."""

from observability.panels import Dashboard, Panel, Query, Row, Variable

_CHOSEN = '{environment=~"$environment",service=~"$service",level=~"$level"}'

LOGS = Dashboard(
    uid="tidemill-logs",
    title="Logs",
    description="Log lines of every service. A request id shows all that happened to one request.",
    rows=[
        Row(
            "How many",
            [
                Panel(
                    "Lines by service",
                    "Lines a second.",
                    [Query(f"sum by (service) (rate({_CHOSEN}[$__auto]))", "{{service}}")],
                    unit="ops",
                    loki=True,
                    stacked=True,
                    width=12,
                ),
                Panel(
                    "Lines by level",
                    "Lines a second.",
                    [Query(f"sum by (level) (rate({_CHOSEN}[$__auto]))", "{{level}}")],
                    unit="ops",
                    loki=True,
                    stacked=True,
                    width=12,
                ),
            ],
        ),
        Row(
            "Lines",
            [
                Panel(
                    "Lines",
                    "Narrowed down by request id and text, if these are given. A line's details lead to its request.",
                    [Query(f'{_CHOSEN} | request_id=~"$request_id.*" |= "$text"')],
                    kind="logs",
                    loki=True,
                    width=24,
                    height=20,
                )
            ],
        ),
    ],
    variables=[
        Variable("environment", "Environment", "environment", loki=True),
        Variable("service", "Service", "service", loki=True),
        Variable("level", "Level", "level", loki=True),
        Variable("request_id", "Request id"),
        Variable("text", "Text"),
    ],
)
