"""Taking feedback, and giving it to monitoring."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.features.deployments import service as deployments
from tidemill.features.feedback import queries
from tidemill.features.feedback.rows import KnownTruths, Target, ToldTruth, fit_to_target, sort_out
from tidemill.features.predictions import service as predictions
from tidemill.features.registry import service as registry
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Invalid, Problem
from tidemill.kit.labels import Label, label_key
from tidemill.schemas.feedback import FeedbackCounts

_CLOCK_TOLERANCE = timedelta(minutes=5)
_ANYTHING = Target(None, None)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who tells, and of which deployment's predictions alone, if one was named."""

    principal: str
    request_id: str | None
    deployment: str | None = None


@dataclass(frozen=True, slots=True)
class Truth:
    """The truth that counts for a prediction."""

    value: Label
    observed_at: datetime


async def record(session: AsyncSession, rows: Sequence[ToldTruth], sender: Sender) -> FeedbackCounts:
    """Store what is new in ``rows``, all or none.

    Raises Invalid naming each row whose truth its model cannot have predicted, whose prediction is another
    deployment's, or whose time lies in the future; NotFound if the sender's deployment never was.
    """
    now = utc_now()
    ids = list({row.prediction_id for row in rows})
    targets = await _targets(session, ids, sender.deployment)
    if sender.deployment is not None and None in targets.values():
        await deployments.history(session, sender.deployment, limit=1, before=None)  # tells a name that never was
    fitted = _fitted(rows, targets, now)
    await queries.lock_writes(session)
    result = sort_out(fitted, await _known(session, fitted, ids), now)
    if result.new:
        await queries.insert(session, result.new, sender.principal, sender.request_id)
    return FeedbackCounts(
        received=len(rows),
        accepted=len(result.new),
        revisions=result.revisions,
        duplicates=result.duplicates,
        unmatched=sum(row.prediction_id not in targets for row in rows),
    )


async def latest_truths(session: AsyncSession, ids: Sequence[str]) -> dict[str, Truth]:
    """The truth that counts, for each of ``ids`` that has one."""
    return {id_: Truth(value, at) for id_, value, at in await queries.latest(session, ids)}


async def count_revisions(session: AsyncSession, ids: Sequence[str]) -> int:
    """How often a truth about one of ``ids`` was replaced by a different one."""
    return await queries.count_revisions(session, ids)


async def ids_with_truth(session: AsyncSession, first: str, end: str, after: str, limit: int) -> list[str]:
    """At most ``limit`` predictions with feedback whose ids lie in [first, end) and past ``after``, in order."""
    return await queries.ids_with_truth(session, first, end, after, limit)


def _fitted(rows: Sequence[ToldTruth], targets: Mapping[str, Target | None], now: datetime) -> list[ToldTruth]:
    fitted: list[ToldTruth] = []
    problems: list[Problem] = []
    for row in rows:
        result = _checked(row, targets.get(row.prediction_id, _ANYTHING), now)
        if isinstance(result, Problem):
            problems.append(result)
        else:
            fitted.append(result)
    if problems:
        raise Invalid("feedback_invalid", f"{len(problems)} of {len(rows)} truths cannot be taken.", problems)
    return fitted


def _checked(row: ToldTruth, target: Target | None, now: datetime) -> ToldTruth | Problem:
    if target is None:
        return Problem(row.id_place or row.place, "deployment_other", "Another deployment made this prediction.")
    if row.observed_at is not None and row.observed_at > now + _CLOCK_TOLERANCE:
        return Problem(
            row.moment_place or row.place, "observed_in_future", "The moment of observation lies in the future."
        )
    return fit_to_target(row, target)


async def _targets(session: AsyncSession, ids: Sequence[str], deployment: str | None) -> dict[str, Target | None]:
    """What the model behind each prediction predicts; None for another deployment's, absent if not in the ledger."""
    sources = await predictions.sources_of(session, ids)
    models = {(source.model_name, source.model_version) for source in sources.values()}
    by_model = {model: await _target(session, *model) for model in models}
    return {
        id_: by_model[source.model_name, source.model_version] if deployment in (None, source.deployment) else None
        for id_, source in sources.items()
    }


async def _target(session: AsyncSession, model_name: str, number: int) -> Target:
    version = await registry.find_version(session, model_name, number)
    return Target(version.task, version.classes) if version else _ANYTHING


async def _known(session: AsyncSession, rows: Sequence[ToldTruth], ids: Sequence[str]) -> KnownTruths:
    known = KnownTruths({id_: (truth, at) for id_, truth, at in await queries.latest(session, ids)})
    timed = [(row.prediction_id, row.truth, row.observed_at) for row in rows if row.observed_at is not None]
    if timed:
        found = await queries.known_of(session, timed)
        known.moments = {(id_, at, label_key(truth)) for id_, truth, at in found}
    return known
