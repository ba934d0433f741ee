"""How a worker divides its slots, so that short work does not wait until long work ends."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tidemill.jobs.definition import TaskDefinition
from tidemill.settings.model import WorkerSettings


@dataclass(frozen=True)
class Lane:
    """Slots that take jobs from the same queues; from all of them when ``queues`` is None."""

    queues: tuple[str, ...] | None
    slots: int


def lanes(settings: WorkerSettings, tasks: Iterable[TaskDefinition[Any]]) -> list[Lane]:
    """The slots for any job, and beside them those that only short jobs may have.

    A worker that takes no long jobs anyway, or nothing else, needs no slots of the second sort.
    """
    tasks = list(tasks)
    general = Lane(settings.queues or None, settings.concurrency)
    taken = set(settings.queues) or {task.queue for task in tasks}
    short = taken - {task.queue for task in tasks if task.long}
    if not short or short == taken or not settings.short_concurrency:
        return [general]
    return [general, Lane(tuple(sorted(short)), settings.short_concurrency)]
