"""Composition root of the worker.

A process that brings its own tasks (tests, extensions) calls ``run(settings, tasks, schedules)`` instead of `main`.
SIGTERM and SIGINT stop it in good order: running jobs are ended and go back to the queue at once. It exits with 1 when
PostgreSQL stays away, so that whoever supervises it starts it afresh.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from tidemill.adapters.mlflow_rest import MlflowRest
from tidemill.adapters.object_store import open_object_store
from tidemill.db.engine import create_engine, create_session_factory
from tidemill.db.metrics import watch_pool
from tidemill.features.stores import service as stores
from tidemill.jobs.definition import TaskDefinition, WorkerServices
from tidemill.jobs.engine import JobEngine
from tidemill.jobs.failures import explain, where
from tidemill.jobs.metrics import JobMetrics
from tidemill.jobs.run import StopReason
from tidemill.jobs.runner import Runner
from tidemill.jobs.schedules import Schedule
from tidemill.kit.logging import configure_logging
from tidemill.kit.own_files import close_to_others
from tidemill.sandbox.confinement import Kernel, protect_process
from tidemill.settings.model import Settings
from tidemill.settings.sources import settings_or_exit
from tidemill.tracing.setup import tracing
from tidemill.web.app import WebConfig, create_web_app
from tidemill.web.metrics import create_registry
from tidemill.web.server import limits_of, server_config
from tidemill.worker.tasks import SCHEDULES, TASKS

log = logging.getLogger(__name__)

_MAX_BODY_BYTES = 1 << 16
_CONNECTIONS_PER_JOB = 3
_LAST_MOMENTS_SECONDS = 2


def main() -> None:
    close_to_others()
    protect_process()
    settings = settings_or_exit()
    configure_logging("worker", settings.environment, settings.log_level)
    with tracing("worker", settings.environment):
        code = run(settings, TASKS, SCHEDULES)
    sys.exit(code)


def run(settings: Settings, tasks: Sequence[TaskDefinition[Any]], schedules: Sequence[Schedule] = ()) -> int:
    """Work until a signal says stop; the exit code."""
    return asyncio.run(_work(settings, tasks, schedules))


async def _work(settings: Settings, tasks: Sequence[TaskDefinition[Any]], schedules: Sequence[Schedule]) -> int:
    registry = create_registry()
    try:
        async with _services(settings, registry) as services:
            runner = Runner(services, tasks, JobMetrics(registry))
            engine = JobEngine(runner, schedules)
            async with engine.opened():
                return await _until_stopped(engine, runner, _web_server(settings, runner, registry))
    except Exception as raised:  # noqa: BLE001 - the last stop: said in one line, then the supervisor's turn
        error = explain(raised)
        log.critical("Worker failed: %s\n%s", error.detail, where(raised), extra={"error_type": type(raised).__name__})
        return 1


@contextlib.asynccontextmanager
async def _services(settings: Settings, registry: CollectorRegistry) -> AsyncIterator[WorkerServices]:
    # Heartbeats must find a connection however many transactions the jobs have open.
    jobs = settings.worker.concurrency + settings.worker.short_concurrency
    overflow = max(settings.database.pool_overflow, _CONNECTIONS_PER_JOB * jobs)
    database = settings.database.model_copy(update={"pool_overflow": overflow})
    engine = create_engine(database, "tidemill-worker")
    watch_pool(registry, engine, database)
    try:
        async with MlflowRest(settings.mlflow, registry) as mlflow:
            sessions, store = create_session_factory(engine), open_object_store(settings.object_store, registry)
            stores.bind(store, sessions)
            yield WorkerServices(settings, sessions, store, mlflow)
    finally:
        await engine.dispose()


async def _until_stopped(engine: JobEngine, runner: Runner, server: uvicorn.Server) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, engine.stop)
    working = asyncio.create_task(engine.run(), name="engine")
    serving = asyncio.create_task(server.serve(), name="http")
    watching = asyncio.create_task(_exit_without_database(runner), name="database watch")
    kernel = Kernel.probe()
    if kernel.level != "full":
        log.warning("Computing children cannot be fully confined: this machine lacks %s", kernel.lacks)
    log.info("Worker started")
    await asyncio.wait({working, serving}, return_when=asyncio.FIRST_COMPLETED)
    in_order = working.done()
    engine.stop()
    server.should_exit = True
    try:
        await working
        await serving
    finally:
        watching.cancel()
    log.info("Worker stopped")
    return 0 if in_order else 1


async def _exit_without_database(runner: Runner) -> None:
    """End this process, children first, once PostgreSQL has been away too long; nothing can be written any more."""
    settings = runner.services.settings.worker
    while (left := settings.database_patience_seconds - runner.seconds_since_database) > 0:  # noqa: ASYNC110 - a clock
        await asyncio.sleep(left)
    log.critical("PostgreSQL is away; the worker exits")
    runner.stop_all(StopReason.OVERTAKEN)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(runner.idle.wait(), settings.termination_grace_seconds + _LAST_MOMENTS_SECONDS)
    sys.stdout.flush()
    os._exit(1)


class _Server(uvicorn.Server):
    """Leaves the signals to the worker."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _web_server(settings: Settings, runner: Runner, registry: CollectorRegistry) -> uvicorn.Server:
    app = _web_app(runner, registry)
    return _Server(server_config(app, settings.worker.host, settings.worker.port, limits_of(settings.http)))


def _web_app(runner: Runner, registry: CollectorRegistry) -> FastAPI:
    stalled_after_seconds = runner.services.settings.worker.stalled_after_seconds

    async def database_answers() -> bool:
        return runner.seconds_since_database < stalled_after_seconds

    checks = {"database": database_answers, "object_store": runner.services.store.is_right}
    return create_web_app(WebConfig("Tidemill worker", registry, _MAX_BODY_BYTES, checks=checks), ())
