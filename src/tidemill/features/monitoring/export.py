"""Brings the ledger's rows and their truths to a file, batch by batch, for the computing child.

Each batch is a short transaction of its own, so that a long report holds no snapshot open and blocks no one.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from tidemill.db.engine import SessionFactory, transaction
from tidemill.features.feedback import service as feedback
from tidemill.features.feedback.service import Truth
from tidemill.features.predictions import service as predictions
from tidemill.features.predictions.service import LedgerRow, LedgerWindow, Sampling
from tidemill.jobs.definition import JobContext, Progress
from tidemill.kit import ids

MAX_ROWS = 1_000_000
"""A report on more predictions looks at a random sample of about this many."""
_BATCH_ROWS = 5_000
_MAX_FEEDBACK_BATCHES = 400


@dataclass
class Exported:
    predictions: int = 0
    rows_read: int = 0
    revisions: int = 0
    models: set[tuple[str, int]] = field(default_factory=set)

    @property
    def is_sample(self) -> bool:
        return self.rows_read < self.predictions


def model_key(name: str, number: int) -> str:
    return f"{name}:{number}"


async def export_rows(context: JobContext, window: LedgerWindow, file: Path) -> Exported:
    """Write one line per prediction of ``window`` as `tidemill.training.live_rows.read_rows` reads them."""
    sessions = context.services.sessions
    exported = Exported()
    async with transaction(sessions) as session:
        exported.predictions = await predictions.count(session, window)
    share = min(1.0, MAX_ROWS / exported.predictions) if exported.predictions else 1.0
    after: tuple[datetime, str] | None = None
    with file.open("wb") as out:
        while True:
            rows, truths = await _read_batch(sessions, window, Sampling(after, _BATCH_ROWS, share), exported)
            if not rows:
                exported.predictions = max(exported.predictions, exported.rows_read)  # rows may have come since
                return exported
            await asyncio.to_thread(_write_batch, out, rows, truths)
            after = (rows[-1].predicted_at, rows[-1].prediction_id)
            expected = min(exported.predictions, MAX_ROWS)
            await context.progress(Progress("reading the ledger", exported.rows_read, max(expected, 1)))


async def _read_batch(
    sessions: SessionFactory, window: LedgerWindow, sampling: Sampling, exported: Exported
) -> tuple[Sequence[LedgerRow], dict[str, Truth]]:
    async with transaction(sessions) as session:
        rows = await predictions.read_window(session, window, sampling)
        found = [row.prediction_id for row in rows]
        truths = await feedback.latest_truths(session, found) if found else {}
        exported.revisions += await feedback.count_revisions(session, list(truths)) if truths else 0
    exported.rows_read += len(rows)
    exported.models |= {(row.model_name, row.model_version) for row in rows}
    return rows, truths


def _write_batch(out: BinaryIO, rows: Sequence[LedgerRow], truths: dict[str, Truth]) -> None:
    for row in rows:
        out.write(orjson.dumps(_line(row, truths.get(row.prediction_id)), option=orjson.OPT_APPEND_NEWLINE))


def _line(row: LedgerRow, truth: Truth | None) -> dict[str, Any]:
    line: dict[str, Any] = {
        "model": model_key(row.model_name, row.model_version),
        "at": row.predicted_at.timestamp(),
        "output": row.output,
    }
    if truth is not None:
        line["truth"] = truth.value
        line["delay"] = (truth.observed_at - row.predicted_at).total_seconds()
    return line


async def count_unmatched(sessions: SessionFactory, since: datetime, until: datetime) -> tuple[int, bool]:
    """Predictions with feedback whose ids are of this span of time and in no ledger; and whether all were looked at."""
    first, end = ids.first_of(ids.PREDICTION, since), ids.first_of(ids.PREDICTION, until)
    unmatched, after = 0, ""
    for _ in range(_MAX_FEEDBACK_BATCHES):
        async with transaction(sessions) as session:
            found = await feedback.ids_with_truth(session, first, end, after, _BATCH_ROWS)
            if not found:
                return unmatched, True
            unmatched += len(found) - len(await predictions.sources_of(session, found))
        after = found[-1]
    return unmatched, False
