"""Types decided on every row: guessed from the first rows, proven by a reading, read again only when contradicted."""

from dataclasses import dataclass
from pathlib import Path

from tidemill.kit.errors import Invalid
from tidemill.schemas.datasets import Column, TableSchema
from tidemill.training.ingest.decide import Decision, decide, decide_typed
from tidemill.training.ingest.findings import Findings
from tidemill.training.ingest.model import Batch, Evidence, Kind, Plan
from tidemill.training.ingest.passes import PassResult, PassRunner, Plans
from tidemill.training.ingest.planning import (
    check_contract_names,
    check_declared_names,
    check_declared_types,
    contract_plans,
    declared_plans,
    guess,
    source_types,
    typed_plan,
)
from tidemill.training.ingest.remarks import Seen, remarks
from tidemill.training.ingest.text_column import TextReading

_MAX_PASSES = 6
"""Each pass only widens types (integer, float, string), so that a few settle every column."""


@dataclass(frozen=True)
class Normalised:
    """longest_bytes: of the texts in each column of text."""

    columns: list[Column]
    row_count: int
    parts: list[Path]
    warnings: list[str]
    longest_bytes: dict[str, int]


def normalise_table(runner: PassRunner, contract: TableSchema | None) -> Normalised:
    """Parts and columns of the source. Raises Invalid with every offending column and row."""
    sample = runner.sample()
    if sample is None:
        raise Invalid("no_rows", "The file has a header but no rows.")
    findings = Findings()
    plans = _first_plans(runner, sample, contract, findings)
    for _ in range(_MAX_PASSES):
        result = runner.run(plans)
        plans, decisions, changed = _next_plans(runner, plans, result)
        if not changed or _is_refused(result, decisions):
            break
    else:
        raise AssertionError("the types of columns kept changing")
    check_contract_names(contract, runner.source.names, findings)
    check_declared_names(runner.options, runner.source.names)
    for name, decision in decisions.items():
        findings.add_rows(name, result.evidence[name], decision.offending, plans[name])
    if findings.columns or findings.total_rows:
        findings.refuse(runner.source)
    evidence = result.evidence
    columns = [_column(name, plan, evidence[name]) for name, plan in plans.items()]
    warnings = [
        sentence
        for column in columns
        for sentence in remarks(
            column, plans[column.name], decisions[column.name], Seen(evidence[column.name], sample, runner.source.typed)
        )
    ]
    longest = {name: evidence[name].longest_bytes for name in plans}
    return Normalised(columns, result.row_count, result.paths, warnings, longest)


def _first_plans(runner: PassRunner, sample: Batch, contract: TableSchema | None, findings: Findings) -> Plans:
    source, options = runner.source, runner.options
    declared = declared_plans(options)
    bound = contract_plans(contract, declared)
    check_declared_types(declared, bound, findings)
    reading = TextReading.of(options)
    types = source_types(source, sample)
    plans: Plans = {}
    for name in _ordered(list(source.names), contract):
        fixed = bound.get(name) or declared.get(name)
        if source.typed:
            plans[name] = typed_plan(name, types[name], fixed, findings)
        else:
            plans[name] = fixed or guess(name, sample, reading)
    if any(problem.code == "type_unsupported" for problem in findings.columns):
        findings.refuse(source)
    return plans


def _ordered(names: list[str], contract: TableSchema | None) -> list[str]:
    """The contract's order first: the order of columns in a file means nothing."""
    known = [column.name for column in contract.columns if column.name in names] if contract else []
    return known + [name for name in names if name not in known]


def _next_plans(runner: PassRunner, plans: Plans, result: PassResult) -> tuple[Plans, dict[str, Decision], bool]:
    """What the evidence says of every column, and whether it differs from what this pass assumed."""
    decisions = {name: _decision(runner, result, name, plan) for name, plan in plans.items()}
    grown = [name for name in runner.source.names if name not in plans]
    declared = declared_plans(runner.options)
    changed = any(decision.type != plans[name].type for name, decision in decisions.items())
    following = {name: _following(plan, decisions[name], result.evidence[name]) for name, plan in plans.items()}
    following |= {name: declared.get(name, Plan("string")) for name in grown}
    return following, decisions, changed or bool(grown)


def _decision(runner: PassRunner, result: PassResult, name: str, plan: Plan) -> Decision:
    evidence = result.evidence[name]
    if runner.source.typed and not plan.fixed:
        return decide_typed(evidence, plan)
    return decide(evidence, plan)


def _is_refused(result: PassResult, decisions: dict[str, Decision]) -> bool:
    """Whether something offends already, so that reading once more is in vain."""
    return any(result.evidence[name].count(*decision.offending) for name, decision in decisions.items())


def _following(plan: Plan, decision: Decision, evidence: Evidence) -> Plan:
    if decision.type == plan.type:
        return plan
    return Plan(decision.type, proven=evidence.count(Kind.CODE, Kind.BIG_INTEGER) > 0)


def _column(name: str, plan: Plan, evidence: Evidence) -> Column:
    """Texts that would mean a missing number are no missing texts."""
    missing = evidence.absent if plan.type == "string" else evidence.missing
    total = evidence.missing + evidence.present
    return Column(
        name=name,
        type=plan.type,
        nullable=missing > 0,
        all_missing=missing == total,
        zoned=evidence.count(Kind.ZONED) > 0 if plan.type == "datetime" and evidence.present else None,
    )
