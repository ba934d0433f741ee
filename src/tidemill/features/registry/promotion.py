"""Champions: promotion through the gate or by force, and the way back."""

from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.tables.registry import AliasEvent, GateDecision, Model
from tidemill.features.registry import queries, service
from tidemill.features.registry.kinds import GatePayload
from tidemill.features.registry.service import Cause
from tidemill.features.registry.states import CHALLENGER, CHAMPION, Move, champions, previous_champion
from tidemill.kit.errors import Conflict, Problem, Refused
from tidemill.schemas.registry import Promote


@dataclass(frozen=True)
class Promoted:
    """Either the move, or the job that asks the gate first."""

    event: AliasEvent | None = None
    job_id: str | None = None


async def promote(session: AsyncSession, name: str, wish: Promote, who: str) -> Promoted:
    """Make a version champion if the gate agrees, or if forced.

    A decision already made about this version, this champion and this policy holds (the gate is deterministic);
    otherwise the gate is asked in a job. Raises Refused with the gate's reasons, Conflict if it is champion already.
    """
    model = await service.locked_model(session, name)
    version = await service.get_version(session, model, wish.version)
    champion = await service.alias_number(session, model, CHAMPION)
    if champion == version.number:
        raise Conflict("already_champion", f"Version {version.number} is the champion already.")
    if wish.force:
        return Promoted(await crown(session, model, version.number, Cause(who, wish.reason or "", Move.FORCED)))
    decision = await queries.decision_about(session, model, version.number, champion)
    if decision is None:
        payload = GatePayload(model_name=name, number=version.number, purpose="promotion", reason=wish.reason)
        return Promoted(job_id=await service.ask_gate(session, version, payload, who))
    refuse_unless_passed(decision)
    why = wish.reason or "; ".join(decision.reasons)
    return Promoted(await crown(session, model, version.number, Cause(who, why, Move.PROMOTED, decision.id)))


def refuse_unless_passed(decision: GateDecision) -> None:
    """Raise Refused with the decision's reasons if it is a no."""
    if not decision.passed:
        pointer = f"model version {decision.number}"
        problems = [Problem(pointer, "gate_reason", str(reason)) for reason in decision.reasons]
        raise Refused("gate_refused", f"The gate refuses version {decision.number}.", problems)


async def crown(session: AsyncSession, model: Model, number: int, cause: Cause) -> AliasEvent:
    """Move ``champion``; a version that becomes champion is challenger no longer."""
    event = await service.move_alias(session, model, CHAMPION, number, cause)
    if await service.alias_number(session, model, CHALLENGER) == number:
        removal = replace(cause, why="It became champion", kind=Move.REMOVED)
        await service.move_alias(session, model, CHALLENGER, None, removal)
    return event


async def rollback(session: AsyncSession, name: str, who: str, why: str | None) -> AliasEvent:
    """Make the champion before the present one champion again; done twice, it goes back two.

    Raises Conflict (``no_previous_champion``) when the history holds none that still exists.
    """
    model = await service.locked_model(session, name)
    present = await service.alias_number(session, model, CHAMPION)
    events = await queries.events_of_alias(session, model.id, CHAMPION)
    stack = champions((Move(kind), number) for kind, number in events)
    target = previous_champion(stack, present, await queries.deleted_numbers(session, model.id))
    if target is None:
        raise Conflict("no_previous_champion", "There is no earlier champion to go back to.")
    why = why or f"Back from version {present}"
    return await crown(session, model, target, Cause(who, why, Move.ROLLBACK))
