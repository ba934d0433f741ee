"""What runs on one machine: each process's command, settings and readiness."""

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from tidemill.platform import postgres
from tidemill.platform.children import ChildSpec, Ready
from tidemill.platform.layout import Layout
from tidemill.platform.ports import LOOPBACK, Ports, address_of

_MLFLOW_ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_AI_GATEWAY": "false",
    "DO_NOT_TRACK": "true",
}
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

_STORE = "object_store"
"""The check of api and worker that looks at the store's mark."""
_DISK, _MODELS = "disk", "models"
"""Checks of the model server: its disk takes rows; models are loaded, which needs the disk too."""


@dataclass(frozen=True)
class Addresses:
    """Where the platform answers."""

    api: str
    model_server: str
    worker: str
    mlflow: str

    @staticmethod
    def of(ports: Ports, host: str) -> "Addresses":
        return Addresses(
            **{name: f"http://{_written(address_of(name, host))}:{port}" for name, port in vars(ports).items()}
        )


def _written(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True)
class Site:
    """All that the specs need to know of one `tidemill up`."""

    layout: Layout
    ports: Ports
    host: str
    addresses: Addresses
    http: httpx.AsyncClient


def _ready(site: Site, url: str, route: str) -> Ready:
    async def check() -> bool:
        try:
            return (await site.http.get(url + route)).status_code == 200
        except httpx.HTTPError:
            return False

    return check


def _started(site: Site, url: str) -> Ready:
    """Ready, or kept from it by a disk that somebody has to bring back: the rest of the platform goes on without it.

    Without the object store predictions go on, and jobs wait for it; without the model server's own disk all but them.
    """

    async def check() -> bool:
        failed = await failed_checks(site, url)
        return failed in ([], [_STORE]) or _is_of_disk(failed)

    return check


def _is_of_disk(failed: list[str] | None) -> bool:
    return failed is not None and _DISK in failed and {*failed} <= {_DISK, _MODELS}


async def store_is_away(site: Site) -> bool:
    """Whether the api says that the object store is not the platform's."""
    return await failed_checks(site, site.addresses.api) == [_STORE]


async def model_server_waits_for_disk(site: Site) -> bool:
    """Whether the model server refuses predictions because its disk takes no rows."""
    return _is_of_disk(await failed_checks(site, site.addresses.model_server))


async def failed_checks(site: Site, url: str) -> list[str] | None:
    """What keeps a process from being ready, in its own words; None if it does not answer."""
    try:
        answer = await site.http.get(f"{url}/readyz", params={"verbose": ""})
        if answer.status_code == 200:
            return []
        return [name for name, passes in answer.json()["checks"].items() if not passes]
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError):
        return None


def environment_of(site: Site) -> dict[str, str]:
    """Settings of every Tidemill process; what the caller set stays, except what ties the parts together."""
    layout = site.layout
    ours = {
        "TIDEMILL_DATA_DIR": str(layout.root),
        "TIDEMILL_DATABASE__URL": postgres.url(layout, "tidemill"),
        "TIDEMILL_MLFLOW__URL": site.addresses.mlflow,
        "TIDEMILL_API__HOST": site.host,
        "TIDEMILL_API__PORT": str(site.ports.api),
        "TIDEMILL_MODEL_SERVER__HOST": site.host,
        "TIDEMILL_MODEL_SERVER__PORT": str(site.ports.model_server),
        "TIDEMILL_MODEL_SERVER__API_URL": site.addresses.api,
        "TIDEMILL_MODEL_SERVER__KEY_FILE": str(layout.serving_key),
        "TIDEMILL_MODEL_SERVER__STATE_DIR": str(layout.model_server),
        "TIDEMILL_WORKER__HOST": LOOPBACK,
        "TIDEMILL_WORKER__PORT": str(site.ports.worker),
        "TIDEMILL_WORKER__SCRATCH_DIR": str(layout.scratch),
        "PYTHONUNBUFFERED": "1",
    }
    inherited = {"TIDEMILL_OBSERVABILITY__METRICS_TO": "this_machine", **os.environ}
    ours["TIDEMILL_OBJECT_STORE__URL"] = inherited.get("TIDEMILL_OBJECT_STORE__URL", f"file://{layout.objects}")
    return inherited | ours


def all_specs(site: Site, environment: Mapping[str, str]) -> list[ChildSpec]:
    """In the order of starting, after PostgreSQL; stopped in reverse."""
    return [_mlflow(site, environment), *(_process(site, environment, *part) for part in _parts(site))]


def _parts(site: Site) -> list[tuple[str, str, dict[str, str]]]:
    addresses, mlflow = site.addresses, _mlflow_token(site)
    return [
        ("api", addresses.api, mlflow),
        ("model-server", addresses.model_server, _ONE_THREAD),
        ("worker", addresses.worker, mlflow),
    ]


def _mlflow_token(site: Site) -> dict[str, str]:
    """For those who speak to MLflow in the platform's name."""
    return {"TIDEMILL_MLFLOW__TOKEN_FILE": str(site.layout.mlflow_token)}


def _process(site: Site, environment: Mapping[str, str], name: str, url: str, extra: dict[str, str]) -> ChildSpec:
    return ChildSpec(
        name=name,
        command=[sys.executable, "-m", f"tidemill.{name.replace('-', '_')}"],
        environment={**environment, **extra},
        ready=_started(site, url),
        # A worker gives its jobs back, for which it waits for PostgreSQL; that is gone as well when we are killed.
        orphan_signal=signal.SIGKILL if name == "worker" else None,
    )


def _mlflow(site: Site, environment: Mapping[str, str]) -> ChildSpec:
    own = {
        "TIDEMILL_MLFLOW__DATABASE_URL": postgres.url(site.layout, "mlflow"),
        "TIDEMILL_MLFLOW__HOST": site.host,
        "TIDEMILL_MLFLOW__PORT": str(site.ports.mlflow),
        "TIDEMILL_MLFLOW__API_URL": site.addresses.api,
        **_mlflow_token(site),
    }
    return ChildSpec(
        name="mlflow",
        command=[sys.executable, "-m", "tidemill.platform.mlflow_server"],
        environment={**environment, **_MLFLOW_ENVIRONMENT, **_ONE_THREAD, **own},
        ready=_ready(site, site.addresses.mlflow, "/health"),
    )
