"""How each column is to be read: declared by the caller, bound by the contract, given by the format, or guessed."""

from collections.abc import Sequence
from typing import Any, get_args

from tidemill.kit.errors import Invalid, Problem
from tidemill.schemas.datasets import MAX_ROW_PROBLEMS, ColumnType, IngestOptions, TableSchema
from tidemill.training.ingest.decide import decide
from tidemill.training.ingest.findings import Findings
from tidemill.training.ingest.model import Batch, Evidence, Plan, Source
from tidemill.training.ingest.passes import Plans
from tidemill.training.ingest.text_column import TextReading, TextSlice, read_texts
from tidemill.training.ingest.typed_column import WIDENING, our_type

TYPES: tuple[ColumnType, ...] = get_args(ColumnType)


def declared_plans(options: IngestOptions) -> Plans:
    """The caller's types. Raises Invalid for a type that does not exist."""
    plans: Plans = {}
    for name, text in options.types.items():
        kind, _, layout = text.partition(":")
        if kind not in TYPES or (layout and kind not in ("date", "datetime")):
            problem = Problem(f"column {name}", "type_unknown", "There is no such type.")
            known = ", ".join(TYPES)
            raise Invalid("type_unknown", f"Types are {known}; dates may add a format, date:%d.%m.%Y.", [problem])
        plans[name] = Plan(kind, declared=True, format=layout or None)
    return plans


def check_declared_names(options: IngestOptions, names: Sequence[str]) -> None:
    """A declared column that the file does not have is a mistake, not a wish."""
    unknown = [name for name in options.types if name not in names]
    if unknown:
        problems = [Problem(f"column {name}", "column_unknown", "The file has no such column.") for name in unknown]
        raise Invalid("column_unknown", "Types are declared for columns that the file does not have.",
                      problems[:MAX_ROW_PROBLEMS])  # fmt: skip


def contract_plans(contract: TableSchema | None, declared: Plans) -> Plans:
    """The contract's types; a format that the caller gives for a column of the same type is used."""
    plans: Plans = {}
    for column in contract.columns if contract else ():
        if not column.all_missing:
            wish = declared.get(column.name)
            layout = wish.format if wish is not None and wish.type == column.type else None
            plans[column.name] = Plan(
                column.type, contract=True, nullable=column.nullable, format=layout, zoned=column.zoned
            )
    return plans


def check_contract_names(contract: TableSchema | None, names: Sequence[str], findings: Findings) -> None:
    if contract is None:
        return
    expected = [column.name for column in contract.columns]
    for name in expected:
        if name not in names:
            findings.add_column(name, "column_missing", "The contract has this column; the file has not.", True)
    for name in names:
        if name not in expected:
            findings.add_column(name, "column_unexpected", "The file has this column; the contract has not.", True)


def check_declared_types(declared: Plans, bound: Plans, findings: Findings) -> None:
    """What a caller declares otherwise than the contract has it would do nothing."""
    for name, plan in declared.items():
        if name in bound and bound[name].type != plan.type:
            detail = f"The column is declared as {plan.type}; the contract has it as {bound[name].type}."
            findings.add_column(name, "type_mismatch", detail, True)


def guess(name: str, sample: Batch, reading: TextReading) -> Plan:
    """The type that the first rows suggest; proven or contradicted by the others."""
    evidence = Evidence()
    read_texts(TextSlice(sample.column(name), 0, sample.quoted.get(name)), Plan("string"), evidence, reading)
    return Plan(decide(evidence, Plan("string")).type)


def typed_plan(name: str, arrow_type: Any, fixed: Plan | None, findings: Findings) -> Plan:
    """For a format with types. What the contract forbids is a finding of the whole column."""
    own = our_type(arrow_type)
    if own is None:
        findings.add_column(name, "type_unsupported", "Nested values, bytes and durations cannot be read.", False)
        return Plan("string")
    if fixed is None:
        return Plan(own)
    if fixed.contract and own != fixed.type and (own, fixed.type) not in WIDENING and not _is_null(arrow_type):
        detail = f"The column is {own} in the file and {fixed.type} by the contract, from row 1 on."
        findings.add_column(name, "type_mismatch", detail, True)
        return Plan(own)
    return fixed


def _is_null(arrow_type: Any) -> bool:
    return str(arrow_type) == "null"


def source_types(source: Source, sample: Batch | None) -> dict[str, Any]:
    """Arrow types by column, of a source that has types."""
    return {field.name: field.type for field in sample.table.schema} if source.typed and sample else {}
