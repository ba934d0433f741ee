"""How models are shown to people."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table

from tidemill.cli.context import interval_text, make_table, moment_text
from tidemill.schemas.registry import (
    AliasEvent,
    AliasState,
    GateDecision,
    ModelSummary,
    ModelVersion,
    Policy,
    VersionComparison,
)


def models_table(models: Iterable[ModelSummary]) -> Table:
    columns = ("model", "champion", "metric", "holdout (95%)", "latest", "aliases")
    return make_table(None, *columns, rows=[_model_row(model) for model in models])


def model_parts(model: ModelSummary, versions: Sequence[ModelVersion]) -> list[Any]:
    columns = ("version", "aliases", "metric", "holdout (95%)", "task", "flavor", "source", "created", "by")
    rows = [_version_row(version) for version in versions]
    return [make_table(model.name, *columns, rows=rows)]


def version_parts(version: ModelVersion, decision: GateDecision | None) -> list[Any]:
    facts = [
        ("aliases", " ".join(version.aliases) or None), ("task", version.task), ("target", version.target),
        ("flavor", version.flavor), ("source", version.source), ("MLflow model", version.mlflow_model_uri),
        ("dataset version", version.dataset_version_id), ("bundle", version.bundle_sha256),
        ("code allowed by", version.code_allowed_by), ("created", version.created_at), ("by", version.created_by),
        ("deleted", version.deleted_at),
    ]  # fmt: skip
    parts: list[Any] = [make_table(f"{version.model_name}:{version.number}", "", "", rows=facts)]
    if version.metrics:
        parts += ["", make_table("Holdout", "metric", "value", "from", "to", rows=_metric_rows(version))]
    inputs = version.signature.get("inputs", [])
    rows = [(column["name"], column["type"], "yes" if column.get("required", True) else "no") for column in inputs]
    parts += ["", make_table("Inputs", "column", "type", "required", rows=rows)]
    return parts + (["", *decision_parts(decision)] if decision else [])


def decision_parts(decision: GateDecision) -> list[Any]:
    answer = "becomes champion" if decision.passed else "stays challenger"
    title = f"Gate at {moment_text(decision.decided_at)}: version {decision.number} {answer}"
    rows = [
        (c.against, c.number, c.metric, c.value, c.other_value, c.difference, c.low, c.high)
        for c in decision.comparisons
        if c.scored
    ]
    columns = ("against", "version", "metric", "this", "other", "difference", "from", "to")
    return [make_table(title, *columns, rows=rows), *(f"  {reason}" for reason in decision.reasons)]


def history_table(events: Iterable[AliasEvent]) -> Table:
    columns = ("when", "alias", "from", "to", "how", "who", "why")
    rows = [(e.moved_at, e.alias, e.from_number, e.to_number, e.kind, e.who_name or e.who, e.why) for e in events]
    return make_table(None, *columns, rows=rows)


def state_table(state: AliasState) -> Table:
    rows = [(e.alias, e.to_number, e.moved_at, e.who_name or e.who, e.why) for e in state.aliases]
    title = f"{state.model_name} at {moment_text(state.at)} UTC"
    return make_table(title, "alias", "version", "since", "who", "why", rows=rows)


def policy_table(policy: Policy) -> Table:
    rows = policy.policy.model_dump(mode="json").items()
    return make_table(f"Gate policy, revision {policy.revision}", "setting", "value", rows=list(rows))


def comparison_parts(found: VersionComparison) -> list[Any]:
    first, second = (f"{v.model_name}:{v.number}" for v in (found.first, found.second))
    both = make_table("Each on its own holdout", "metric", first, second, rows=_side_by_side(found))
    if not found.scored:
        return [both, "", f"No paired comparison: {found.reason}."]
    title = (
        f"Both on {found.row_count} holdout rows of version {found.holdout_of}; "
        f"difference with {found.confidence:.0%} interval, positive favours {first}"
    )
    rows = [(d.metric, d.value, d.other_value, d.difference, d.low, d.high) for d in found.differences]
    return [both, "", make_table(title, "metric", first, second, "difference", "from", "to", rows=rows)]


def move_text(event: AliasEvent) -> str:
    where = f"version {event.to_number}" if event.to_number is not None else "nothing"
    before = f", before: version {event.from_number}" if event.from_number is not None else ""
    return f"{event.alias} now points to {where}{before}."


def _model_row(model: ModelSummary) -> tuple[Any, ...]:
    champion = model.champion
    others = " ".join(f"{alias}={number}" for alias, number in model.aliases.items() if alias != "champion")
    if champion is None:
        return model.name, None, None, None, model.latest_version, others
    return model.name, champion.number, champion.metric, _main_metric(champion), model.latest_version, others


def _version_row(version: ModelVersion) -> tuple[Any, ...]:
    return (
        version.number, " ".join(version.aliases), version.metric, _main_metric(version), version.task, version.flavor,
        version.source, version.created_at, version.created_by,
    )  # fmt: skip


def _main_metric(version: ModelVersion) -> str | None:
    found = version.metrics.get(version.metric or "")
    if not isinstance(found, dict):
        return None
    return interval_text(found.get("value"), found.get("low"), found.get("high"))


def _metric_rows(version: ModelVersion) -> list[tuple[Any, ...]]:
    values = [(name, value) for name, value in version.metrics.items() if isinstance(value, dict)]
    return [(name, value.get("value"), value.get("low"), value.get("high")) for name, value in values]


def _side_by_side(found: VersionComparison) -> list[tuple[Any, ...]]:
    one, two = ({row[0]: interval_text(*row[1:]) for row in _metric_rows(v)} for v in (found.first, found.second))
    return [(name, one.get(name), two.get(name)) for name in dict.fromkeys([*one, *two])]
