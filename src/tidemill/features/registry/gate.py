"""Job ``registry.gate``: weigh a challenger against baseline and champion, write the decision, move the alias."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.adapters.model_loading import TIDEMILL
from tidemill.db.engine import transaction
from tidemill.db.tables.registry import GateDecision, Model, ModelVersion
from tidemill.features.registry import queries, service
from tidemill.features.registry.adopted import Weighed
from tidemill.features.registry.kinds import GatePayload
from tidemill.features.registry.material import Material
from tidemill.features.registry.policy import Verdict, decide
from tidemill.features.registry.promotion import crown, refuse_unless_passed
from tidemill.features.registry.service import Cause
from tidemill.features.registry.states import CHAMPION, Move
from tidemill.jobs.definition import JobContext, Progress
from tidemill.jobs.returned import returned_record
from tidemill.kit import ids
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Conflict
from tidemill.schemas.registry import Check, Comparison, GatePolicy

_ENTRY = "tidemill.training.gate:weigh"
_ROUNDS = 3


@dataclass(frozen=True)
class Contest:
    """Who stands against whom under which rules, as it was when the numbers were made."""

    challenger: ModelVersion
    champion: ModelVersion | None
    policy: GatePolicy
    policy_revision: int

    @property
    def champion_number(self) -> int | None:
        return self.champion.number if self.champion else None


@dataclass(frozen=True)
class Evidence:
    metric: str | None
    checks: list[Check]
    comparisons: list[Comparison]


async def run_gate(ctx: JobContext, payload: GatePayload) -> dict[str, Any]:
    """Decide about one version. If champion or policy change meanwhile, weigh again; at most three times."""
    for _ in range(_ROUNDS):
        async with transaction(ctx.services.sessions) as session:
            contest = await _contest(session, payload)
            decision = await queries.decision_of_job(session, ctx.job_id)
        if decision is None and contest.champion_number == payload.number:
            return {"outcome": "champion", "decision_id": None, "reasons": ["It is the champion already"]}
        if decision is None:
            evidence = await _weigh(ctx, contest)
            async with ctx.transaction() as session:
                decision = await _settle(session, ctx, payload, contest, evidence)
        if decision is not None:
            return _result(payload, decision)
        await ctx.log("info", "The champion or the policy changed meanwhile; weighing again")
    raise Conflict("champion_kept_changing", "The champion or the policy kept changing while the gate was weighing.")


def _result(payload: GatePayload, decision: GateDecision) -> dict[str, Any]:
    if payload.purpose == "promotion":
        refuse_unless_passed(decision)
    outcome = "champion" if decision.passed else "challenger"
    return {"outcome": outcome, "decision_id": decision.id, "reasons": decision.reasons}


async def _contest(session: AsyncSession, payload: GatePayload) -> Contest:
    model = await service.get_model(session, payload.model_name)
    challenger = await service.get_version(session, model, payload.number)
    number = await service.alias_number(session, model, CHAMPION)
    champion = None if number is None else await service.get_version(session, model, number)
    return Contest(challenger, champion, GatePolicy.model_validate(model.policy), model.policy_revision)


async def _weigh(ctx: JobContext, contest: Contest) -> Evidence:
    await ctx.progress(Progress("weighing", message=f"Version {contest.challenger.number} at the gate"))
    async with ctx.scratch() as folder:
        material = Material(ctx.services, folder)
        champion = None if contest.champion is None else await material.contestant(contest.champion)
        request = {
            "challenger": await material.contestant(contest.challenger),
            "champion": champion,
            "parts": await material.parts(contest.challenger.dataset_version_id),
            "champion_parts": await material.parts(_other_dataset(contest)),
            "metric": contest.policy.metric or contest.challenger.metric,
            "confidence": contest.policy.confidence,
            "resamples": contest.policy.resamples,
            "seed": contest.policy.seed,
            "max_rows": contest.policy.max_rows,
        }
        found = await ctx.compute(_ENTRY, request, material.reach(contest.challenger, contest.champion))
    weighed = returned_record(Weighed, found)
    return Evidence(weighed.metric, [*_stored_checks(contest.challenger), *weighed.checks], weighed.comparisons)


def _other_dataset(contest: Contest) -> str | None:
    """Where to look which of the challenger's rows the champion was trained on, unless it is the same dataset."""
    champion, challenger = contest.champion, contest.challenger
    if champion is None or champion.flavor != TIDEMILL or champion.dataset_version_id == challenger.dataset_version_id:
        return None
    return champion.dataset_version_id


def _stored_checks(version: ModelVersion) -> list[Check]:
    """What can be said without computing: is there a signature, did training warn of an error."""
    named = bool(version.signature.get("inputs"))
    errors = [warning for warning in version.warnings if warning.get("severity") == "error"]
    leakage = "; ".join(str(warning.get("detail", warning.get("code"))) for warning in errors[:10])
    return [
        Check(code="signature", passed=named, detail="Has a signature" if named else "Has no input columns"),
        Check(code="leakage", passed=not errors, detail=leakage or "Training warned of no error"),
    ]


async def _settle(
    session: AsyncSession, ctx: JobContext, payload: GatePayload, contest: Contest, evidence: Evidence
) -> GateDecision | None:
    """Write the decision and, for a yes, move the alias; None if the world moved on since the contest began."""
    model = await service.locked_model(session, payload.model_name)
    champion = await service.alias_number(session, model, CHAMPION)
    if champion != contest.champion_number or model.policy_revision != contest.policy_revision:
        return None
    await service.get_version(session, model, payload.number)
    verdict = decide(contest.policy, evidence.checks, evidence.comparisons)
    decision = _decision(ctx, model, contest, evidence, verdict)
    session.add(decision)
    await session.flush()
    if verdict.passed:
        why = payload.reason or "; ".join(verdict.reasons)
        move = Move.PROMOTED if payload.purpose == "promotion" else Move.GATE
        cause = Cause(ctx.principal, why, move, decision.id, ctx.request_id)
        await crown(session, model, payload.number, cause)
    return decision


def _decision(ctx: JobContext, model: Model, contest: Contest, evidence: Evidence, verdict: Verdict) -> GateDecision:
    return GateDecision(
        id=ids.new_id(ids.GATE_DECISION),
        model_id=model.id,
        number=contest.challenger.number,
        champion_number=contest.champion_number,
        passed=verdict.passed,
        metric=evidence.metric,
        policy=contest.policy.model_dump(mode="json"),
        policy_revision=contest.policy_revision,
        checks=[check.model_dump(mode="json") for check in evidence.checks],
        comparisons=[comparison.model_dump(mode="json") for comparison in evidence.comparisons],
        reasons=verdict.reasons,
        job_id=ctx.job_id,
        decided_at=utc_now(),
        decided_for=ctx.principal,
    )
