"""The life of a job.

```
queued --> running --> succeeded
  |  ^        |------> failed
  |  |        |------> cancelled
  |  +--------+        (retry, stopped or lost worker)
  +--> cancelled
  +--> failed          (it can never run: unknown kind, unreadable payload)
```
"""

from collections.abc import Mapping
from enum import StrEnum


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})

TRANSITIONS: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.RUNNING, JobStatus.CANCELLED, JobStatus.FAILED}),
    JobStatus.RUNNING: frozenset({JobStatus.QUEUED}) | FINAL,
    JobStatus.SUCCEEDED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
}


def may_move(present: JobStatus, new: JobStatus) -> bool:
    return new in TRANSITIONS[present]
