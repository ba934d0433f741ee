"""What a person should know about a column as it was read: converted, rounded, or kept as text although it is none."""

from collections.abc import Iterator
from itertools import islice

from tidemill.schemas.datasets import Column
from tidemill.training.ingest.decide import Decision
from tidemill.training.ingest.findings import counted
from tidemill.training.ingest.kinds import NUMBERS
from tidemill.training.ingest.looks import looks_of
from tidemill.training.ingest.model import Batch, Evidence, Kind, Plan


def remarks(column: Column, plan: Plan, decision: Decision, evidence: Evidence, sample: Batch) -> Iterator[str]:
    """Sentences about one column."""
    name = column.name
    if decision.warning:
        yield f"Column {name} {decision.warning}."
    if evidence.rounded:
        yield (
            f"Column {name} holds {counted(evidence.rounded, 'value')} with more digits than are kept: numbers were "
            "rounded to floats, times to microseconds, dates to days."
        )
    if plan.type == "string" and not plan.fixed and not decision.warning:
        yield from _hidden_types(name, evidence, sample)
    elif plan.type == "string" and plan.contract:
        for look in islice(looks_of(sample.column(name)), 1):
            yield f"Column {name} is text by the contract, and seems to hold {look.name}; {look.advice} (new contract)."
    if column.all_missing:
        yield f"Column {name} holds no value at all."


def _hidden_types(name: str, evidence: Evidence, sample: Batch) -> Iterator[str]:
    numbers, big = evidence.count(*NUMBERS), evidence.count(Kind.BIG_INTEGER)
    if numbers and (big or 0 < evidence.count(Kind.CODE) < numbers):
        yield (
            f"Column {name} is read as text because some of its numbers have leading zeros or a plus sign, or do not "
            "fit into 64 bits; --type COLUMN=float reads them as numbers."
        )
        return
    if numbers and numbers == evidence.present:
        yield (
            f"Column {name} is read as text because no float holds some of its integers exactly, and others of its "
            "numbers have decimals; --type COLUMN=float rounds them."
        )
        return
    if name in sample.quoted and (numbers or evidence.count(Kind.BOOLEAN)):
        yield f"Column {name} is read as text because it holds numbers, or true and false, beside texts."
        return
    if numbers + evidence.count(Kind.BOOLEAN) == evidence.present > numbers > 0:
        yield f"Column {name} is read as text because it holds numbers beside true and false."
        return
    for look in islice(looks_of(sample.column(name)), 1):
        yield f"Column {name} is read as text although it seems to hold {look.name}; {look.advice}."
