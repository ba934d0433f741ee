"""Jobs of the registry."""

from typing import Any

from tidemill.features.registry.collector import run_collect
from tidemill.features.registry.comparison import run_compare
from tidemill.features.registry.gate import run_gate
from tidemill.features.registry.imports import run_import
from tidemill.features.registry.kinds import (
    COLLECT,
    COMPARE,
    GATE,
    IMPORT,
    MIRROR,
    CollectPayload,
    ComparePayload,
    GatePayload,
    ImportPayload,
    MirrorPayload,
)
from tidemill.features.registry.mirror import run_mirror
from tidemill.jobs.definition import TaskDefinition
from tidemill.jobs.schedules import Schedule
from tidemill.jobs.service import Kind


def _task(kind: Kind, payload: Any, run: Any) -> TaskDefinition[Any]:
    return TaskDefinition(kind.kind, kind.queue, payload, run, kind.timeout_seconds)


GATE_TASK = _task(GATE, GatePayload, run_gate)
COMPARE_TASK = _task(COMPARE, ComparePayload, run_compare)
COLLECT_TASK = _task(COLLECT, CollectPayload, run_collect)
IMPORT_TASK = _task(IMPORT, ImportPayload, run_import)
MIRROR_TASK = _task(MIRROR, MirrorPayload, run_mirror)
TASKS = (GATE_TASK, COMPARE_TASK, IMPORT_TASK, MIRROR_TASK, COLLECT_TASK)
HOURLY = Schedule(name="registry-collect", cron="43 * * * *", task=COLLECT_TASK, payload=CollectPayload())
