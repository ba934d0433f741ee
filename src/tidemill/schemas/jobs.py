"""Jobs on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from tidemill.schemas.base import QueryParameters, Reply
from tidemill.schemas.page import PageQuery

JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]


FINAL_STATES: frozenset[JobState] = frozenset({"succeeded", "failed", "cancelled"})


class JobFilter(QueryParameters):
    """Which jobs a list shows; all when empty."""

    status: JobState | None = None
    """Only jobs in this state."""
    kind: Annotated[str | None, Field(max_length=64)] = None
    """Only jobs of this kind, such as ``training.run``."""
    subject: Annotated[str | None, Field(max_length=256)] = None
    """Only jobs about this, such as ``dataset/adult``."""


class JobListQuery(JobFilter, PageQuery):
    """Which page of which jobs."""


class JobProgress(Reply):
    stage: str
    """What is being done."""
    done: float = 0
    """Units of the stage that are done."""
    total: float | None = None
    """Units of the stage; absent when unknown."""
    message: str = ""
    best: float | None = None
    """Best value so far of a search."""
    metric: str | None = None
    """The metric that ``best`` is a value of."""


class JobErrorPlace(Reply):
    pointer: str
    code: str
    detail: str


class JobError(Reply):
    kind: str
    """One of the kinds of error, such as ``Invalid`` or ``Unavailable``."""
    code: str
    """Stable and machine-readable."""
    detail: str
    """One sentence for people."""
    problems: list[JobErrorPlace] = Field(default_factory=list)
    """Each single place that is wrong."""


class Job(Reply):
    id: str
    kind: str
    """``noun.verb``: what the job does."""
    queue: str
    priority: int
    """Higher runs first."""
    status: JobState
    subject: str | None
    """What the job is about, such as ``dataset/adult``."""
    attempt: int
    """Number of the present or last run; 0 before the first."""
    timeout_seconds: float
    """Longest one attempt may take."""
    progress: JobProgress | None
    result: dict[str, Any] | None
    error: JobError | None
    """Why the job failed, or why it waits for another attempt."""
    principal: str
    """Id of the key that asked for the job."""
    request_id: str | None
    cancel_requested_at: datetime | None
    created_at: datetime
    run_at: datetime | None
    """Not started before this moment."""
    started_at: datetime | None
    """When the latest attempt began."""
    finished_at: datetime | None


class JobLogLine(Reply):
    seq: int
    """Position; lines are read from after the last one seen."""
    attempt: int
    level: str
    message: str
    written_at: datetime


class JobLogQuery(QueryParameters):
    after: Annotated[int, Field(ge=0, le=2**53)] = 0
    """Only lines after this ``seq``."""
    limit: Annotated[int, Field(ge=1, le=1000)] = 500
    """Most lines in one answer."""


class JobLogs(Reply):
    items: list[JobLogLine]
    next_after: int
    """``after`` of the next request."""
    more: bool | None = None
    """Whether more lines are there already: a page ends early where lines are long."""


class JobEvent(Reply):
    """One event of a job's stream: exactly one of the three is there."""

    state: Job | None = None
    progress: JobProgress | None = None
    line: JobLogLine | None = None
