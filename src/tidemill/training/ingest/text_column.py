"""One column of text into typed values. What is as expected is converted at once; the rest is looked at closely."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.reading.missing import missing_tokens
from tidemill.schemas.datasets import ColumnType, IngestOptions
from tidemill.training.ingest.digits import count_rounded
from tidemill.training.ingest.kinds import classify, far, mark_codes_that_are_no_integers
from tidemill.training.ingest.model import Codes, Evidence, Kind, Mask, Plan
from tidemill.training.ingest.text_bytes import raw

ARROW_TYPES: dict[ColumnType, Any] = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "string": pa.string(),
    "date": pa.date32(),
    "datetime": pa.timestamp("us"),
}
"""Times with a zone are kept in UTC; times without are kept as they are."""
FITTING: dict[ColumnType, tuple[Kind, ...]] = {
    "boolean": (Kind.BOOLEAN,),
    "integer": (Kind.INTEGER,),
    "float": (Kind.FLOAT, Kind.INTEGER),
    "string": tuple(kind for kind in Kind if kind is not Kind.MISSING),
    "date": (Kind.DATE,),
    "datetime": (Kind.DATETIME, Kind.DATE, Kind.ZONED),
}
ZONES = (Kind.DATE, Kind.DATETIME, Kind.ZONED)
"""What times without and with a zone look like: no column may hold both."""
_EXACT_IN_FLOAT = 2.0**53
_NUMBER_STARTS = np.zeros(256, dtype=bool)
_NUMBER_STARTS[[*range(48, 58), *b"+-. \tiI"]] = True


class NotAsExpected(Exception):
    """Some value of the batch does not fit; which one is found out by classifying."""


@dataclass(frozen=True)
class TextReading:
    """How texts are read in this file."""

    tokens: Sequence[str]
    decimal: str

    @classmethod
    def of(cls, options: IngestOptions) -> "TextReading":
        return cls(missing_tokens(options), options.decimal)

    def numbers(self, texts: Any) -> Any:
        """The texts with a point as decimal mark; what used points otherwise becomes no number."""
        if self.decimal == ".":
            return texts
        return pc.replace_substring(pc.replace_substring(texts, ".", "_"), ",", ".")


@dataclass(frozen=True)
class TextSlice:
    """A batch's values of one column."""

    texts: Any
    first_index: int
    quoted: Mask | None = None


def read_texts(slice_: TextSlice, plan: Plan, evidence: Evidence, reading: TextReading) -> Any:
    """Typed values, missing where nothing fits; what was seen is added to ``evidence``."""
    if plan.format is not None:
        return _read_formatted(slice_, plan, evidence)
    if plan.type == "string":
        return _read_strings(slice_, plan, evidence, reading)
    try:
        values, kind = _convert(slice_, plan, reading)
    except (NotAsExpected, pa.ArrowInvalid):
        return _read_closely(slice_, plan, evidence, reading)
    _count(evidence, values, kind, slice_.first_index)
    if kind is Kind.FLOAT:
        evidence.rounded += count_rounded(reading.numbers(slice_.texts), values)
    return values


def _count(evidence: Evidence, values: Any, kind: Kind, first_index: int) -> None:
    """Count a batch in which everything present is of one kind."""
    evidence.counts[kind] += len(values) - values.null_count
    evidence.counts[Kind.MISSING] += values.null_count
    if kind in ZONES and not evidence.rows.get(kind) and values.null_count < len(values):
        evidence.rows[kind] = [first_index + int(values.is_valid().to_numpy(zero_copy_only=False).argmax())]
    if values.null_count and len(evidence.rows.get(Kind.MISSING, ())) < 100:
        codes = np.where(values.is_valid().to_numpy(zero_copy_only=False), kind, Kind.MISSING).astype(np.int8)
        noted = Evidence()
        noted.add(codes, first_index, (Kind.MISSING,))
        evidence.rows.setdefault(Kind.MISSING, []).extend(noted.rows[Kind.MISSING])
        del evidence.rows[Kind.MISSING][100:]


def _convert(slice_: TextSlice, plan: Plan, reading: TextReading) -> tuple[Any, Kind]:
    """All values at once. Raises NotAsExpected or ArrowInvalid if a single one does not fit."""
    texts = slice_.texts
    if slice_.quoted is not None and plan.type not in ("date", "datetime") and slice_.quoted.any():
        raise NotAsExpected
    if plan.type == "boolean":
        return _booleans(texts), Kind.BOOLEAN
    if plan.type in ("integer", "float"):
        return _numbers(reading.numbers(texts), plan)
    if plan.type == "date":
        return _within_calendar(texts.cast(pa.date32())), Kind.DATE
    try:
        return _within_calendar(texts.cast(pa.timestamp("us"))), Kind.DATETIME
    except pa.ArrowInvalid:
        in_utc = texts.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
        return _within_calendar(in_utc), Kind.ZONED


def _within_calendar(moments: Any) -> Any:
    """Arrow reads the year 0, and an offset may lead to it or beyond 9999: years that neither Python nor SQL knows."""
    if pc.any(far(moments), min_count=0).as_py():
        raise NotAsExpected
    return moments


def _booleans(texts: Any) -> Any:
    lowered = pc.utf8_lower(texts)
    values = pc.equal(lowered, "true")
    if not pc.all(pc.or_(values, pc.equal(lowered, "false")), min_count=0).as_py():
        raise NotAsExpected
    return values


def _numbers(texts: Any, plan: Plan) -> tuple[Any, Kind]:
    leading_zero_or_plus, hexadecimal = _starts(texts)
    if hexadecimal or (leading_zero_or_plus and not plan.declared):
        raise NotAsExpected
    values = texts.cast(ARROW_TYPES[plan.type])
    if plan.type == "integer":
        return values, Kind.INTEGER
    largest = pc.max(pc.abs(values)).as_py()
    if largest is not None and not largest < (np.inf if plan.declared else _EXACT_IN_FLOAT):
        raise NotAsExpected
    if pc.any(pc.is_nan(values)).as_py():
        raise NotAsExpected
    return values, Kind.FLOAT


def _starts(texts: Any) -> tuple[bool, bool]:
    """Whether any text begins like 007, -07 or +5, and whether any begins like 0x1F, which Arrow takes for 31.

    On the raw bytes, many times quicker than a regular expression.
    """
    starts, lengths, data = raw(texts)
    if data.size < 2:
        return False, False
    last = data.size - 2
    first = data[np.minimum(starts, last)]
    signed = (first == ord("-")) & (lengths > 1)
    at = np.minimum(starts + signed, last)
    zero, second = (data[at] == ord("0")) & (lengths - signed > 1), data[at + 1]
    zero_then_digit = zero & (second - np.uint8(48) < 10)
    plus = (first == ord("+")) & (lengths > 0)
    return bool((zero_then_digit | plus).any()), bool((zero & (second | np.uint8(32) == ord("x"))).any())


def _read_closely(slice_: TextSlice, plan: Plan, evidence: Evidence, reading: TextReading) -> Any:
    """As above, value by value: blanks are cut off, missing tokens in quotes are missing, misfits are noted."""
    trimmed = pc.utf8_trim_whitespace(slice_.texts)
    numbers = reading.numbers(trimmed)
    codes = classify(trimmed, numbers, reading.tokens, slice_.quoted)
    if plan.type == "integer" and plan.declared:
        mark_codes_that_are_no_integers(codes, numbers)
    source = numbers if plan.type in ("integer", "float") else trimmed
    fitting = _fitting(plan)
    kept = pc.if_else(pa.array(np.isin(codes, fitting)), source, pa.scalar(None, pa.string()))
    values = _converted(kept, codes, plan)
    if plan.type == "float":
        values = _without_unfit_floats(values, codes, plan)
        evidence.rounded += count_rounded(kept, values)
    noted = [kind for kind in Kind if kind not in fitting]
    evidence.add(codes, slice_.first_index, [*noted, *(ZONES if plan.type == "datetime" else ())])
    return values


def _fitting(plan: Plan) -> tuple[Kind, ...]:
    """A caller who declares a number accepts that leading zeros go."""
    if plan.declared and plan.type in ("integer", "float"):
        return (*FITTING[plan.type], Kind.CODE, *((Kind.BIG_INTEGER,) if plan.type == "float" else ()))
    return FITTING[plan.type]


def _converted(kept: Any, codes: Codes, plan: Plan) -> Any:
    if plan.type == "boolean":
        return pc.equal(pc.utf8_lower(kept), "true")
    if plan.type in ("integer", "float"):
        return pc.utf8_ltrim(kept, "+").cast(ARROW_TYPES[plan.type])
    if plan.type == "datetime":
        zoned = pa.array(codes == Kind.ZONED)
        nothing = pa.scalar(None, pa.string())
        in_utc = pc.if_else(zoned, kept, nothing).cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
        return pc.coalesce(in_utc, pc.if_else(zoned, nothing, kept).cast(pa.timestamp("us")))
    return kept.cast(ARROW_TYPES[plan.type])


def _without_unfit_floats(values: Any, codes: Codes, plan: Plan) -> Any:
    """1e400 is infinite, and an integer of 17 digits would lose its last ones; both are told in ``codes``."""
    floats = np.abs(values.fill_null(0.0).to_numpy(zero_copy_only=False))
    codes[np.isinf(floats)] = Kind.INFINITE
    if not plan.declared:
        codes[(codes == Kind.INTEGER) & (floats >= _EXACT_IN_FLOAT)] = Kind.BIG_INTEGER
    unfit = ~np.isin(codes, (*_fitting(plan), Kind.MISSING))
    return pc.if_else(pa.array(unfit), pa.scalar(None, pa.float64()), values)


def _read_strings(slice_: TextSlice, plan: Plan, evidence: Evidence, reading: TextReading) -> Any:
    """Text stays as it is, blanks included; only the empty text is missing."""
    values = slice_.texts
    _, lengths, _ = raw(values)
    evidence.longest_bytes = max(evidence.longest_bytes, int(lengths.max(initial=0)))
    if values.null_count < np.count_nonzero(lengths == 0):
        values = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
    evidence.absent += values.null_count
    proven = evidence.count(Kind.CODE, Kind.BIG_INTEGER) > 0
    if plan.fixed or proven:
        _count(evidence, values, Kind.TEXT, slice_.first_index)
    else:
        codes = _codes_of_strings(values, slice_, evidence, reading)
        evidence.add(codes, slice_.first_index, [kind for kind in Kind if kind is not Kind.INTEGER])
    return values


def _codes_of_strings(values: Any, slice_: TextSlice, evidence: Evidence, reading: TextReading) -> Codes:
    """Kinds of texts that may turn out to be numbers after all; once text was seen, only what begins like a number."""
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    codes = np.where(valid, Kind.TEXT, Kind.MISSING).astype(np.int8)
    chosen = valid
    if evidence.count(Kind.TEXT):
        starts, _, data = raw(values)
        chosen = valid & _NUMBER_STARTS[data[np.minimum(starts, max(0, data.size - 1))]] if data.size else valid
    indices = np.flatnonzero(chosen)
    if indices.size:
        trimmed = pc.utf8_trim_whitespace(values.take(pa.array(indices)))
        quoted = None if slice_.quoted is None else slice_.quoted[indices]
        codes[indices] = classify(trimmed, reading.numbers(trimmed), reading.tokens, quoted)
    return codes


def _read_formatted(slice_: TextSlice, plan: Plan, evidence: Evidence) -> Any:
    """Dates in the caller's own format."""
    trimmed = pc.utf8_trim_whitespace(slice_.texts)
    trimmed = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)
    moments = _without_wrapped(pc.strptime(trimmed, format=plan.format, unit="us", error_is_null=True), trimmed, plan)
    kind = Kind.DATE if plan.type == "date" else Kind.DATETIME
    present, parsed = (array.is_valid().to_numpy(zero_copy_only=False) for array in (trimmed, moments))
    codes = np.where(parsed, kind, np.where(present, Kind.TEXT, Kind.MISSING)).astype(np.int8)
    is_far = far(moments).fill_null(False)
    codes[is_far.to_numpy(zero_copy_only=False)] = Kind.FAR
    moments = pc.if_else(is_far, pa.scalar(None, moments.type), moments)
    evidence.add(codes, slice_.first_index, (Kind.TEXT, Kind.FAR, Kind.MISSING))
    return moments.cast(ARROW_TYPES[plan.type])


def _without_wrapped(moments: Any, texts: Any, plan: Plan) -> Any:
    """Arrow reads 31 February as 3 March. Only the first days of a month can be such ones; Python knows better."""
    early = pc.and_(pc.less_equal(pc.day(moments), 3), pc.match_substring_regex(texts, "29|30|31"))
    wrapped = np.zeros(len(texts), dtype=bool)
    for index in np.flatnonzero(early.fill_null(False).to_numpy(zero_copy_only=False)):
        wrapped[index] = not _is_real(str(texts[int(index)]), str(plan.format))
    return pc.if_else(pa.array(wrapped), pa.scalar(None, moments.type), moments) if wrapped.any() else moments


def _is_real(text: str, layout: str) -> bool:
    try:
        dt.datetime.strptime(text, layout)  # noqa: DTZ007 - only whether there is such a day
    except ValueError:
        return False
    return True
