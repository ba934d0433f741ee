"""What a person should know about a column as it was read: converted, rounded, or kept as text although it is none."""

from collections.abc import Iterator
from typing import Any

import pyarrow.compute as pc

from tidemill.schemas.datasets import Column
from tidemill.training.ingest.decide import Decision
from tidemill.training.ingest.findings import counted
from tidemill.training.ingest.kinds import NUMBERS
from tidemill.training.ingest.model import Batch, Evidence, Kind, Plan

_LIKENESS = 0.95
"""The share of a column's texts that look like something else, from which on it is worth a word."""
_NUMBER = r"^\s*[+-]?(\d{1,3}([,.' ]\d{3})+|\d+)([.,]\d+)?\s*$"
_LOOKS = (
    (r"^\s*[+-]?\d+,\d+\s*$", "", "decimal commas", "--decimal , reads them as numbers"),
    (_NUMBER, r"\d[,.' ]\d{3}\b", "numbers with thousands separators", "write them without"),
    (r"^\s*[+-]?\d+([.,]\d+)?\s*%\s*$", "", "percentages", "write them without the mark"),
    (
        r"^\s*(\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d\d)|\d{4}/\d{1,2}/\d{1,2})\s*$",
        "",
        "dates",
        "--type COLUMN=date:%d.%m.%Y, with the format they have, reads them as such",
    ),
)
"""What nearly all texts look like, what some of them must, and what to say about it."""


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
    if plan.type == "string" and not plan.fixed:
        yield from _hidden_types(name, evidence, sample)
    elif plan.type == "string" and plan.contract and (look := _look(sample.column(name))) is not None:
        yield f"Column {name} is text by the contract and seems to hold {look[0]}: {look[1]}, with a new contract."
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
    if (look := _look(sample.column(name))) is not None:
        yield f"Column {name} is read as text although it seems to hold {look[0]}; {look[1]}."


def _look(texts: Any) -> tuple[str, str] | None:
    """What nearly all texts look like, and what to do about it."""
    for pattern, sign, look, advice in _LOOKS:
        if _share(texts, pattern) >= _LIKENESS and (not sign or _share(texts, sign) > 0):
            return look, advice
    return None


def _share(texts: Any, pattern: str) -> float:
    present = len(texts) - texts.null_count
    return (pc.sum(pc.match_substring_regex(texts, pattern)).as_py() or 0) / present if present else 0.0
