"""Brings the ledger's rows and their truths to a file, batch by batch, for the computing child.

Each batch is a short transaction of its own, so that a long report holds no snapshot open and blocks no one.

A span of more predictions than a report reads is counted exactly and sampled twice: uniformly, for what is said of all
predictions, and among those with a truth, for what is said of the labelled ones. The second takes every one of them
unless they too are more than a report reads.
"""

import asyncio
import bisect
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.pages import Cut
from tidemill.features.feedback import service as feedback
from tidemill.features.feedback.service import Truth
from tidemill.features.predictions import service as predictions
from tidemill.features.predictions.service import DayCount, LedgerRow, LedgerWindow, Place, Sampling
from tidemill.jobs.definition import JobContext, Progress
from tidemill.kit import ids
from tidemill.kit.clock import earlier, later
from tidemill.kit.disk_room import disk_limit
from tidemill.kit.errors import TooLarge

_BATCH_ROWS = 5_000
_ROWS_PASSED = 200_000
"""Rows that one statement goes through at most, about, to find a batch of a sample."""
_FEWEST_AT_ONCE = 100
_MAX_FEEDBACK_BATCHES = 400
_ID_TOLERANCE = timedelta(minutes=10)
"""Between the moment in a prediction's id and the one it was stored with."""
_ONE_DAY = timedelta(days=1)


@dataclass
class DayTotal:
    """What the ledger holds of one model version and day, counted and not estimated."""

    predictions: int = 0
    truths: int = 0


@dataclass
class Exported:
    """``totals``: by model key and day, where the rows are a sample; None where they are all there are."""

    predictions: int = 0
    rows_read: int = 0
    revisions: int = 0
    models: set[tuple[str, int]] = field(default_factory=set)
    totals: dict[str, dict[date, DayTotal]] | None = None
    uniform_rows: int = 0
    truths_read: int = 0

    @property
    def truths(self) -> int:
        """Predictions with feedback; known only where the rows are a sample."""
        return sum(total.truths for days in (self.totals or {}).values() for total in days.values())

    def total_of(self, counted: DayCount | Place) -> DayTotal:
        assert self.totals is not None
        self.models.add((counted.model_name, counted.model_version))
        days = self.totals.setdefault(model_key(counted.model_name, counted.model_version), {})
        return days.setdefault(counted.day, DayTotal())


@dataclass(frozen=True)
class _Export:
    """One export under way."""

    context: JobContext
    window: LedgerWindow
    out: BinaryIO
    exported: Exported
    most_bytes: int

    @property
    def sessions(self) -> SessionFactory:
        return self.context.services.sessions


@dataclass
class _Pace:
    """How many rows to ask for next: few where outputs are large, since the database unpacks all to measure them."""

    most_rows: int
    rows: int = _FEWEST_AT_ONCE

    def follow(self, found: Cut[LedgerRow]) -> None:
        self.rows = len(found.items) if found.more else self.rows
        self.rows = max(1, min(self.most_rows, 2 * self.rows))


def model_key(name: str, number: int) -> str:
    return f"{name}:{number}"


async def export_rows(context: JobContext, window: LedgerWindow, file: Path) -> Exported:
    """Write one line per prediction of ``window`` as `tidemill.training.live_rows.read_rows` reads them."""
    settings, exported = context.services.settings.worker, Exported()
    most_bytes, max_rows = disk_limit(file.parent, settings.disk_limit_bytes), settings.report_rows
    async with transaction(context.services.sessions) as session:
        exported.predictions = await predictions.count(session, window)
    with file.open("wb") as out:
        export = _Export(context, window, out, exported, most_bytes)
        if exported.predictions <= max_rows:
            await _write_window(export, 1.0)
        else:
            await _write_samples(export, max_rows // 2)  # a half of all rows, as many again of labelled ones
    exported.predictions = max(exported.predictions, exported.uniform_rows)  # rows may have come since
    return exported


async def _write_samples(export: _Export, most: int) -> None:
    """At most about ``most`` of all rows, and as many labelled ones in addition."""
    exported = export.exported
    exported.totals = {}
    await _count_predictions(export)
    await _count_truths(export)
    exported.predictions = sum(total.predictions for days in exported.totals.values() for total in days.values())
    share = min(1.0, most / max(1, exported.predictions))
    await _write_window(export, share)
    await _write_labelled(export, share, max(share, min(1.0, most / max(1, exported.truths))))


async def _count_predictions(export: _Export) -> None:
    for window in _days_of(export.window):
        async with transaction(export.sessions) as session:
            counted = await predictions.count_by_day(session, window)
        for one in counted:
            export.exported.total_of(one).predictions += one.rows
        await export.context.progress(Progress("counting predictions"))


def _days_of(window: LedgerWindow) -> Iterable[LedgerWindow]:
    since = window.since
    while since < window.until:
        until = min(window.until, later(since, _ONE_DAY))
        yield replace(window, since=since, until=until)
        since = until


async def _count_truths(export: _Export) -> None:
    async for found in _ids_with_truth(export):
        async with transaction(export.sessions) as session:
            places = await predictions.places_of(session, export.window, found)
            known = [place.prediction_id for place in places]
            export.exported.revisions += await feedback.count_revisions(session, known) if known else 0
        for place in places:
            export.exported.total_of(place).truths += 1
        await export.context.progress(Progress("counting truths"))


async def _ids_with_truth(export: _Export) -> AsyncIterator[list[str]]:
    """Of any deployment, from the window's span of time."""
    first = ids.first_of(ids.PREDICTION, earlier(export.window.since, _ID_TOLERANCE))
    end, after = ids.first_of(ids.PREDICTION, later(export.window.until, _ID_TOLERANCE)), ""
    while True:
        async with transaction(export.sessions) as session:
            found = await feedback.ids_with_truth(session, first, end, after, _BATCH_ROWS)
        if not found:
            return
        yield found
        after = found[-1]


async def _write_window(export: _Export, share: float) -> None:
    """The share of all rows, with their truths where they have one."""
    exported, after = export.exported, None
    pace = _Pace(max(_FEWEST_AT_ONCE, min(_BATCH_ROWS, int(_ROWS_PASSED * share))))
    while True:
        async with transaction(export.sessions) as session:
            sampling = Sampling(after, pace.rows, share)
            found = await predictions.read_window(session, export.window, sampling)
        if not found.items:
            return
        await _write_rows(export, found.items, uniform=True)
        after = (found.items[-1].predicted_at, found.items[-1].prediction_id)
        pace.follow(found)
        expected = max(1, round(share * exported.predictions))
        await export.context.progress(Progress("reading the ledger", exported.uniform_rows, expected))


async def _write_labelled(export: _Export, begin: float, end: float) -> None:
    """Rows with a truth that the larger of two shares draws and the smaller, which is written already, does not."""
    exported, pace = export.exported, _Pace(_BATCH_ROWS)
    async for ids_ in _ids_with_truth(export):
        begins = 0
        while begins < len(ids_):
            asked = ids_[begins : begins + pace.rows]
            async with transaction(export.sessions) as session:
                found = await predictions.read_ids(session, export.window, asked, begin, end)
            await _write_rows(export, found.items, uniform=False)
            last = found.items[-1].prediction_id if found.more else asked[-1]
            begins = bisect.bisect_right(ids_, last)
            pace.follow(found)
        await export.context.progress(Progress("reading truths", exported.truths_read, max(1, exported.truths)))


async def _write_rows(export: _Export, rows: Sequence[LedgerRow], *, uniform: bool) -> None:
    if not rows:
        return
    exported, found = export.exported, [row.prediction_id for row in rows]
    async with transaction(export.sessions) as session:
        truths = await feedback.latest_truths(session, found)
        if exported.totals is None and truths:
            exported.revisions += await feedback.count_revisions(session, list(truths))
    await asyncio.to_thread(_write_batch, export, rows, truths, uniform)
    exported.rows_read += len(rows)
    exported.uniform_rows += len(rows) if uniform else 0
    exported.truths_read += len(truths)
    exported.models |= {(row.model_name, row.model_version) for row in rows}


def _write_batch(export: _Export, rows: Sequence[LedgerRow], truths: dict[str, Truth], uniform: bool) -> None:
    for row in rows:
        line = _line(row, truths.get(row.prediction_id))
        export.out.write(_encoded(line if uniform else line | {"uniform": False}))
        if export.out.tell() > export.most_bytes:
            raise TooLarge("report_too_large", "The outputs of so many predictions are too large. Name a shorter span.")


def _encoded(line: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # an integer beyond 64 bits, which JSON may hold
        return json.dumps(line).encode() + b"\n"


def _line(row: LedgerRow, truth: Truth | None) -> dict[str, Any]:
    line: dict[str, Any] = {
        "model": model_key(row.model_name, row.model_version),
        "at": row.predicted_at.timestamp(),
        "output": _judged(row.output),
    }
    if truth is not None:
        line["truth"] = truth.value
        line["delay"] = (truth.observed_at - row.predicted_at).total_seconds()
    return line


def _judged(output: Any) -> Any:
    """What a report looks at: a scalar prediction and its probabilities. Whatever else a model answers stays behind."""
    output = output if isinstance(output, dict) else {"prediction": output}
    prediction, probabilities = output.get("prediction"), output.get("probabilities")
    scalar = None if isinstance(prediction, (dict, list)) else prediction
    return {"prediction": scalar} | ({"probabilities": probabilities} if isinstance(probabilities, dict) else {})


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
