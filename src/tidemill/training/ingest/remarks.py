"""What a person should know about a column as it was read: converted, rounded, or kept as text although it is none."""

from collections.abc import Iterator
from dataclasses import dataclass

from tidemill.schemas.datasets import Column
from tidemill.training.ingest.decide import Decision
from tidemill.training.ingest.findings import counted
from tidemill.training.ingest.kinds import NUMBERS
from tidemill.training.ingest.looks import looks_of
from tidemill.training.ingest.model import Batch, Evidence, Kind, Plan


@dataclass(frozen=True)
class Seen:
    """Of one column: what all of its values looked like, and the first of them. typed: whether the format has types."""

    evidence: Evidence
    sample: Batch
    typed: bool


def remarks(column: Column, plan: Plan, decision: Decision, seen: Seen) -> Iterator[str]:
    """Sentences about one column."""
    name = column.name
    if decision.warning:
        yield f"Column {name} {decision.warning}."
    if seen.evidence.rounded:
        yield (
            f"Column {name} holds {counted(seen.evidence.rounded, 'value')} with more digits than are kept: numbers "
            "were rounded to floats, times to microseconds, dates to days."
        )
    if plan.type == "string" and not plan.fixed and not decision.warning:
        meant = _meant_in_types(seen.evidence) if seen.typed else _meant(name, seen)
        if meant is None and (look := next(looks_of(seen.sample.column(name)), None)):
            meant = f"is read as text although it seems to hold {look.name}; {look.advice}"
        if meant:
            yield f"Column {name} {meant}."
    elif plan.type == "string" and plan.contract and (look := next(looks_of(seen.sample.column(name)), None)):
        yield f"Column {name} is text by the contract, and seems to hold {look.name}; {look.advice} (new contract)."
    if column.all_missing:
        yield f"Column {name} holds no value at all."


def _meant_in_types(evidence: Evidence) -> str | None:
    """Texts of a format that has types, and could have had numbers."""
    if not 0 < evidence.count(*NUMBERS) == evidence.present:
        return None
    return "is text in the file although it holds numbers; --type COLUMN=float, or integer, reads them as such"


def _meant(name: str, seen: Seen) -> str | None:
    evidence = seen.evidence
    numbers, booleans, big = evidence.count(*NUMBERS), evidence.count(Kind.BOOLEAN), evidence.count(Kind.BIG_INTEGER)
    if big or 0 < evidence.count(Kind.CODE) < numbers:
        return (
            "is read as text because some of its numbers have leading zeros or a plus sign, or do not fit into 64 "
            "bits; --type COLUMN=float reads them as numbers"
        )
    if 0 < numbers == evidence.present:
        return (
            "is read as text because no float holds some of its integers exactly, and others of its numbers have "
            "decimals; --type COLUMN=float rounds them"
        )
    if name in seen.sample.quoted and (numbers or booleans):
        return "is read as text because it holds numbers, or true and false, beside texts"
    if numbers and booleans and numbers + booleans == evidence.present:
        return "is read as text because it holds numbers beside true and false"
    return None
