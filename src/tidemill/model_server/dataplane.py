"""The one path of every prediction, whatever transport asked: check, predict, record, answer."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar

from tidemill.kit.errors import Invalid, Problem, TidemillError, TooLarge
from tidemill.model_server.background import Background
from tidemill.model_server.idempotency import RequestKey
from tidemill.model_server.metrics import ServingMetrics
from tidemill.model_server.models import ModelTable, ServedModel
from tidemill.model_server.params import checked_params
from tidemill.model_server.recording import (
    Asker,
    PredictedRows,
    TooLargeToRecord,
    ledger_lines,
    output_rows,
    prediction_ids,
)
from tidemill.model_server.row_sizes import checked_texts_bytes, rows_bytes, rows_too_large
from tidemill.model_server.runtimes.base import ModelOutputs
from tidemill.model_server.tables import InputTable
from tidemill.model_server.validation import Columns, validate
from tidemill.tracing.spans import child_span
from tidemill.web.request_memory import MemoryShare

T = TypeVar("T")
_CELLS_ON_THE_LOOP = 20_000
"""Larger requests are checked and written out in the background, so that others are answered meanwhile."""


class Ledger(Protocol):
    async def append(self, lines: bytes) -> None:
        """Return when ``lines`` are safe; raise Unavailable when they are not."""


@dataclass(frozen=True)
class PredictionQuery:
    deployment: str
    table: InputTable
    params: Mapping[str, Any] | None
    asker: Asker
    memory: MemoryShare
    """Claimed from before anything is made of the rows."""
    key: RequestKey | None = None
    """Of a request that may be sent more than once."""


class DataPlane:
    def __init__(
        self, models: ModelTable, ledger: Ledger, metrics: ServingMetrics, background: Background, max_rows: int
    ) -> None:
        self._models = models
        self.background = background
        self._ledger = ledger
        self._metrics = metrics
        self.max_rows = max_rows

    async def predict(self, query: PredictionQuery) -> PredictedRows:
        """Predict every row with one model version, and answer only when all rows are in the ledger.

        Raises NotFound for an unknown deployment, Invalid for input that does not fit the signature (every place, no
        values) and for an answer of the model that cannot be recorded, TooLarge for too many rows and for rows
        (each named) that are too large, Unavailable while there is no model, too much waits or the ledger is full,
        DeadlineExceeded when the model takes too long.
        """
        self._check_size(query.table.row_count)
        with self._models.lease(query.deployment) as served:
            started, outcome = time.perf_counter(), "cancelled"
            try:
                rows = await self._predict(served, query)
                outcome = "ok"
            except TidemillError as error:
                outcome = error.code
                raise
            except Exception:
                outcome = "internal"
                raise
            finally:
                self._observe(served, outcome, time.perf_counter() - started)
            self._metrics.rows.labels(*_labels(served)).inc(len(rows.outputs))
            return rows

    async def _predict(self, served: ServedModel, query: PredictionQuery) -> PredictedRows:
        cells = query.table.row_count * len(served.columns) + len(query.params or ())
        params = await self._run(cells, lambda: checked_params(query.params, served.params))
        query.memory.take(rows_bytes(query.table.row_count, served.columns, len(served.spec.classes or ())))
        columns = await self._run(cells, lambda: _checked(served, query))
        with child_span("model predict"):
            outputs = await served.runtime.predict(columns, params, query.memory.take)
        recorded = partial(_recorded, served, outputs, columns, query)
        rows, lines = await (self.background.run(recorded) if outputs.is_large else self._run(cells, recorded))
        with child_span("ledger append"):
            await self._ledger.append(lines)
        return rows

    async def _run(self, cells: int, work: Callable[[], T]) -> T:
        return work() if cells <= _CELLS_ON_THE_LOOP else await self.background.run(work)

    def _check_size(self, row_count: int) -> None:
        if row_count == 0:
            raise Invalid("inputs_empty", "There are no rows to predict.")
        if row_count > self.max_rows:
            raise TooLarge("rows_too_many", f"One request may hold at most {self.max_rows} rows.")

    def _observe(self, served: ServedModel, outcome: str, seconds: float) -> None:
        labels = _labels(served)
        self._metrics.requests.labels(*labels, outcome).inc()
        self._metrics.duration.labels(*labels).observe(seconds)


def _labels(served: ServedModel) -> tuple[str, str, str]:
    return served.spec.name, served.spec.model_name, str(served.spec.model_version)


def _checked(served: ServedModel, query: PredictionQuery) -> Columns:
    columns = validate(query.table, served.columns)
    query.memory.take(checked_texts_bytes(query.table, columns, served.columns))
    return columns


def _recorded(
    served: ServedModel, outputs: ModelOutputs, columns: Columns, query: PredictionQuery
) -> tuple[PredictedRows, bytes]:
    try:
        answers = output_rows(outputs)
        made, moment = _ids(served, answers, query)
        rows = PredictedRows(served.spec, made, moment, answers, outputs.is_large)
        return rows, ledger_lines(rows, columns, query.asker)
    except TooLargeToRecord as error:
        raise _unrecordable(error, columns, query) from None
    except (TypeError, ValueError) as error:
        raise Invalid("prediction_unrecordable", "The model's answer cannot be written as JSON.") from error


def _unrecordable(error: TooLargeToRecord, columns: Columns, query: PredictionQuery) -> Invalid:
    """The caller's row, or the model's answer."""
    place = query.table.place(error.row, next(iter(columns), ""))
    if not error.is_output:
        return rows_too_large([place])
    problem = Problem(place, "prediction_too_large", "What the model answers to this row is too large to be recorded.")
    return Invalid("prediction_too_large", "The model's answer is too large to be recorded.", [problem])


def _ids(served: ServedModel, answers: list[Any], query: PredictionQuery) -> tuple[list[str], datetime]:
    key = query.key
    if key is None:
        return prediction_ids(len(answers))
    random_bytes = partial(key.randomness, query.asker.principal, served.spec, answers)
    return prediction_ids(len(answers), key.milliseconds, random_bytes)
