"""What a task is, and what a running job may do. Features depend on this module, never on the queue."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.adapters.mlflow_rest import MlflowRest
from tidemill.adapters.object_store import ObjectStore
from tidemill.db.engine import SessionFactory
from tidemill.sandbox.policy import NOTHING, Reach
from tidemill.settings.model import Settings

PayloadT = TypeVar("PayloadT", bound=BaseModel)
Event = Mapping[str, Any]
OnEvent = Callable[[Event], Awaitable[None]]


@dataclass(frozen=True)
class WorkerServices:
    """What the worker's main built and every job may use."""

    settings: Settings
    sessions: SessionFactory
    store: ObjectStore
    mlflow: MlflowRest


@dataclass(frozen=True)
class Progress:
    """Where a job stands. ``done`` of ``total`` (units of the stage, None if unknown); ``best`` for a search."""

    stage: str
    done: float = 0
    total: float | None = None
    message: str = ""
    best: float | None = None
    metric: str | None = None


class JobContext(Protocol):
    """Handed to a task. Every write goes through `transaction`, which refuses a run that was overtaken."""

    @property
    def job_id(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def principal(self) -> str: ...
    @property
    def request_id(self) -> str | None: ...
    @property
    def services(self) -> WorkerServices: ...

    def transaction(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A transaction that holds the job's row and raises StaleRun if this attempt is no longer the present one."""

    async def progress(self, progress: Progress) -> None:
        """Show where the job stands; at most a few times a second reach the database."""

    async def log(self, level: str, message: str) -> None:
        """Write one line that ``tidemill job logs`` shows."""

    def scratch(self) -> AbstractAsyncContextManager[Path]:
        """An empty directory while the block runs, to hand files to a child; removed even if this worker is killed."""

    async def compute(
        self, entry: str, request: dict[str, Any], reach: Reach = NOTHING, on_event: OnEvent | None = None
    ) -> dict[str, Any]:
        """Run ``package.module:function`` in a child process and return its result.

        The function is called as ``function(request, reporter)``; both request and result are JSON. The child has its
        own session, limits and an empty scratch directory ``reporter.scratch``; it is ended when the job is cancelled,
        times out or is overtaken, and when this process dies. A TidemillError raised there is raised here.
        It is confined: beyond Python and the package it reads and writes what ``reach`` says, and talks to nobody else.
        """


@dataclass(frozen=True)
class TaskDefinition(Generic[PayloadT]):
    """A kind of job.

    kind: ``noun.verb``, stable. queue: workers may take only some. run: the task itself, idempotent, since a job that
    lost its worker is run again. timeout_seconds: default, a job may carry its own. long: it may take hours and nobody
    waits beside it, so that it gets none of a worker's slots for short jobs; its queue holds no other tasks. ended:
    told of a job that this worker saw end without a result, for good; what it raises is logged, and it is told once.
    """

    kind: str
    queue: str
    payload: type[PayloadT]
    run: Callable[[JobContext, PayloadT], Awaitable[dict[str, Any] | None]]
    timeout_seconds: float = 3600
    long: bool = False
    ended: Callable[[WorkerServices, str], Awaitable[None]] | None = None
