"""The type of a column from what all of its values looked like, and what speaks against it."""

from dataclasses import dataclass
from typing import Any

from tidemill.schemas.datasets import ColumnType
from tidemill.training.ingest.kinds import NUMBERS
from tidemill.training.ingest.model import Evidence, Kind, Plan
from tidemill.training.ingest.text_column import FITTING
from tidemill.training.ingest.typed_column import UNFIT

STRAY_SHARE = 0.05
"""A column whose values are numbers but for at most this share (or a single one) is taken for damaged, not for text."""
_IN_UTC = "holds times with zones, which were converted to UTC"
_STRAY_KINDS = (Kind.TEXT, Kind.BOOLEAN, Kind.DATE, Kind.DATETIME, Kind.ZONED)


@dataclass(frozen=True)
class Decision:
    """offending: kinds of values that must not be there; the column is refused if any was seen."""

    type: ColumnType
    offending: tuple[Kind, ...] = ()
    warning: str | None = None


def decide(evidence: Evidence, plan: Plan) -> Decision:
    """What the column is. A fixed plan stands; anything that does not fit it offends."""
    if plan.fixed:
        return Decision(plan.type, _unfit(plan) + unlike_zones(evidence, plan))
    if plan.proven or evidence.count(Kind.CODE, Kind.BIG_INTEGER):
        return Decision("string")
    present, numbers = evidence.present, evidence.count(*NUMBERS)
    strays = present - numbers
    if numbers >= 2 and 0 < strays <= max(1, STRAY_SHARE * present):
        return Decision("float", _STRAY_KINDS + ((Kind.INFINITE,) if evidence.count(Kind.INFINITE) else ()))
    if numbers and not strays:
        return _number(evidence)
    return _other(evidence)


def decide_typed(evidence: Evidence, plan: Plan) -> Decision:
    """For a format with types, which stand."""
    if plan.type == "string":
        return Decision(plan.type)
    return Decision(plan.type, UNFIT, _IN_UTC if evidence.count(Kind.ZONED) else None)


def _unfit(plan: Plan) -> tuple[Kind, ...]:
    allowed: tuple[Kind, ...] = (*FITTING[plan.type], Kind.MISSING)
    if plan.declared and plan.type in ("integer", "float"):
        allowed += (Kind.CODE,) if plan.type == "integer" else (Kind.CODE, Kind.BIG_INTEGER)
    if not plan.nullable:
        allowed = tuple(kind for kind in allowed if kind is not Kind.MISSING)
    return tuple(kind for kind in Kind if kind not in allowed)


def unlike_zones(evidence: Evidence, plan: Plan) -> tuple[Kind, ...]:
    """Times with a zone where others have none, or the other way round, whichever are fewer if no contract tells."""
    without, zoned = (Kind.DATE, Kind.DATETIME), plan.zoned
    if plan.type != "datetime":
        return ()
    if zoned is None:
        zoned = evidence.count(Kind.ZONED) > evidence.count(*without)
    return without if zoned else (Kind.ZONED,) if evidence.count(*without) or plan.zoned is False else ()


def _number(evidence: Evidence) -> Decision:
    if evidence.count(Kind.INFINITE):
        return Decision("float", (Kind.INFINITE,))
    return Decision("float" if evidence.count(Kind.FLOAT) else "integer")


def _other(evidence: Evidence) -> Decision:
    present = evidence.present
    if not present:
        return Decision("string")
    if evidence.count(Kind.BOOLEAN) == present:
        return Decision("boolean")
    if evidence.count(Kind.DATE) == present:
        return Decision("date")
    if evidence.count(Kind.DATE, Kind.DATETIME) == present:
        return Decision("datetime")
    if evidence.count(Kind.ZONED, Kind.FAR) == present:
        return Decision("datetime", (Kind.FAR,) if evidence.count(Kind.FAR) else (), _IN_UTC)
    return Decision("string", warning=_mixture(evidence))


def _mixture(evidence: Evidence) -> str | None:
    """A word of warning where a good part of a text column looks like something else."""
    if evidence.count(Kind.DATE, Kind.DATETIME, Kind.ZONED) == evidence.present:
        return "is read as text because some of its times have a zone and others none"
    share: dict[str, Any] = {
        "numbers": evidence.count(*NUMBERS) / evidence.present,
        "dates": evidence.count(Kind.DATE, Kind.DATETIME, Kind.ZONED) / evidence.present,
        "true and false": evidence.count(Kind.BOOLEAN) / evidence.present,
    }
    found = [f"{value:.1%} {name}" for name, value in share.items() if value > 0.5]
    return f"is read as text although it holds {found[0]}" if found else None
