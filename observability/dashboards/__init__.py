"""Every dashboard, by the name of its file."""

from observability.dashboards.data import OBJECT_STORE, POSTGRESQL
from observability.dashboards.jobs import JOBS
from observability.dashboards.logs import LOGS
from observability.dashboards.overview import OVERVIEW
from observability.dashboards.serving import MODEL, SERVING
from observability.panels import Dashboard

DASHBOARDS: dict[str, Dashboard] = {
    "overview": OVERVIEW,
    "serving": SERVING,
    "model": MODEL,
    "jobs": JOBS,
    "postgresql": POSTGRESQL,
    "object-store": OBJECT_STORE,
    "logs": LOGS,
}
