"""Which slots a worker has, by its settings and tasks."""

from typing import Any

from pydantic import BaseModel

from tidemill.features.experiments.kinds import TRAIN
from tidemill.jobs.definition import JobContext, TaskDefinition
from tidemill.jobs.lanes import Lane, lanes
from tidemill.settings.model import WorkerSettings
from tidemill.worker.tasks import TASKS


async def _nothing(_context: JobContext, _payload: BaseModel) -> dict[str, Any]:
    return {}


def _task(queue: str, long: bool = False) -> TaskDefinition[BaseModel]:
    return TaskDefinition(f"{queue}.run", queue, BaseModel, _nothing, long=long)


_BOTH = (_task("data"), _task("training", long=True), _task("default"))


def test_short_jobs_have_slots_of_their_own() -> None:
    settings = WorkerSettings(concurrency=3, short_concurrency=2)
    assert lanes(settings, _BOTH) == [Lane(None, 3), Lane(("data", "default"), 2)]


def test_a_worker_of_some_queues_reserves_slots_within_these() -> None:
    settings = WorkerSettings(queues=("training", "data"))
    assert lanes(settings, _BOTH) == [Lane(("training", "data"), 2), Lane(("data",), 1)]


def test_a_worker_of_only_long_or_only_short_queues_has_one_sort_of_slots() -> None:
    for queues in (("training",), ("data", "default")):
        assert lanes(WorkerSettings(queues=queues), _BOTH) == [Lane(queues, 2)]


def test_slots_for_short_jobs_can_be_given_up() -> None:
    assert lanes(WorkerSettings(short_concurrency=0), _BOTH) == [Lane(None, 2)]


def test_only_trainings_are_long_and_their_queue_is_theirs_alone() -> None:
    assert {task.queue for task in TASKS if task.long} == {TRAIN.queue}
    assert [task.kind for task in TASKS if task.queue == TRAIN.queue] == [TRAIN.kind]
