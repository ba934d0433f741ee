"""Runs the checks side by side, each with a time limit; one that breaks is a problem of its part, not of the others."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError

from tidemill.adapters.mlflow_rest import MlflowRest
from tidemill.adapters.object_store import ObjectStore
from tidemill.db.engine import SessionFactory
from tidemill.features.health import database, machine, servers
from tidemill.features.health.findings import problem
from tidemill.kit.errors import TidemillError
from tidemill.kit.sqlstates import passing
from tidemill.sandbox.confinement import Kernel
from tidemill.schemas.health import CheckResult
from tidemill.settings.model import Settings

_TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class Parts:
    settings: Settings
    sessions: SessionFactory
    store: ObjectStore
    mlflow: MlflowRest


async def check_all(parts: Parts) -> list[CheckResult]:
    """One result for each part, in a fixed order."""
    return list(await asyncio.gather(*(_within_limits(part, check) for part, check in _checks(parts).items())))


def _checks(parts: Parts) -> dict[str, Callable[[], Awaitable[CheckResult]]]:
    settings, sessions = parts.settings, parts.sessions
    return {
        "schema": lambda: database.check_schema(sessions),
        "database space": lambda: database.check_space(sessions),
        "database clock": lambda: database.check_clock(sessions),
        "object store": lambda: servers.check_store(parts.store),
        "mlflow": lambda: servers.check_mlflow(parts.mlflow),
        "workers": lambda: database.check_workers(sessions, settings.worker.stalled_after_seconds),
        "queue": lambda: database.check_queue(sessions, settings.worker.stalled_after_seconds),
        "model servers": lambda: database.check_model_servers(sessions),
        "ledger": lambda: database.check_ledger(sessions),
        "backup": lambda: database.check_backup(sessions, settings.backup.every_hours),
        "restore drill": lambda: database.check_drill(sessions, settings.backup.drill_every_hours),
        "certificate": lambda: servers.check_certificate(settings.observability.tls_address),
        "disk": lambda: machine.check_disk(settings),
        "secrets": machine.check_secrets,
        "sandbox": lambda: database.check_sandbox(sessions, Kernel.probe(), settings.sandbox.allow_unconfined),
    }


async def _within_limits(part: str, check: Callable[[], Awaitable[CheckResult]]) -> CheckResult:
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            return await check()
    except TimeoutError:
        return problem(part, f"No answer in {_TIMEOUT_SECONDS} s.", "Look at its log and at the load of its machine.")
    except TidemillError as error:
        return problem(part, error.detail, "Look at its log; the api's settings say where it is expected.")
    except DBAPIError as error:
        refused = passing(getattr(error.orig, "sqlstate", None))
        detail = f"The check failed ({type(error).__name__})." if refused is None else refused.detail
        return problem(part, detail, "Look at PostgreSQL's log, and at the room on its disk.")
    except Exception as error:  # noqa: BLE001 - whatever breaks in a check is a finding about its part
        return problem(part, f"The check failed ({type(error).__name__}).", "Look at the api's log.")
