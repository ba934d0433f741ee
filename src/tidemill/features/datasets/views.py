"""Rows as they go over the wire, and what differs between two versions."""

from typing import Any

from tidemill.db.tables.datasets import DatasetVersion
from tidemill.features.datasets.queries import Listed
from tidemill.schemas import datasets as wire

_FIGURES = ("missing_share", "distinct", "min", "max", "mean", "std", "true_share", "min_length", "max_length")


def dataset_view(listed: Listed) -> wire.Dataset:
    dataset, latest = listed.dataset, listed.latest
    return wire.Dataset(
        id=dataset.id,
        name=dataset.name,
        version_count=listed.version_count,
        latest_version=latest.number or 0,
        row_count=latest.row_count or 0,
        size_bytes=latest.size_bytes,
        contract=wire.TableSchema.model_validate(dataset.contract or {"columns": []}),
        created_at=dataset.created_at,
        updated_at=dataset.updated_at,
    )


def summary_view(version: DatasetVersion) -> wire.VersionSummary:
    return wire.VersionSummary(**_summary(version))


def version_view(version: DatasetVersion, pinned_by: list[str]) -> wire.Version:
    return wire.Version(
        **_summary(version),
        table_schema=wire.TableSchema.model_validate(version.table_schema),
        profile=version.profile or {},
        source={**(version.source or {}), "options": version.options},
        warnings=version.warnings,
        parts=[wire.Part.model_validate(part) for part in version.parts],
        pinned_by=pinned_by,
    )


def _summary(version: DatasetVersion) -> dict[str, Any]:
    return {
        "id": version.id,
        "dataset": version.dataset_name,
        "number": version.number,
        "sha256": version.sha256,
        "filename": version.filename,
        "size_bytes": version.size_bytes,
        "row_count": version.row_count,
        "column_count": len((version.table_schema or {}).get("columns", [])),
        "created_at": version.created_at,
        "created_by": version.created_by,
    }


def diff_view(before: DatasetVersion, after: DatasetVersion) -> wire.VersionDiff:
    return wire.VersionDiff(
        dataset=before.dataset_name,
        before=before.number or 0,
        after=after.number or 0,
        row_count_before=before.row_count or 0,
        row_count_after=after.row_count or 0,
        columns=_column_changes(before, after),
        figures=_figure_changes(before, after),
    )


def _columns(version: DatasetVersion) -> dict[str, wire.Column]:
    schema = wire.TableSchema.model_validate(version.table_schema)
    return {column.name: column for column in schema.columns}


def _column_changes(before: DatasetVersion, after: DatasetVersion) -> list[wire.ColumnChange]:
    old, new = _columns(before), _columns(after)
    changes = []
    for name in dict.fromkeys([*old, *new]):
        was, now = old.get(name), new.get(name)
        if was != now:
            change = "added" if was is None else "removed" if now is None else "changed"
            changes.append(wire.ColumnChange.model_validate(
                {"name": name, "change": change, "before": was, "after": now}))  # fmt: skip
    return changes


def _figure_changes(before: DatasetVersion, after: DatasetVersion) -> list[wire.FigureChange]:
    old, new = (_figures(version) for version in (before, after))
    places = [place for place in dict.fromkeys([*old, *new]) if place in old and place in new]
    return [
        wire.FigureChange(column=column, figure=figure, before=old[column, figure], after=new[column, figure])
        for column, figure in places
        if old[column, figure] != new[column, figure]
    ]


def _figures(version: DatasetVersion) -> dict[tuple[str, str], Any]:
    """Single figures by column, the median and the most frequent value among them."""
    found: dict[tuple[str, str], Any] = {}
    for column, profile in (version.profile or {}).get("columns", {}).items():
        found |= {(column, figure): profile[figure] for figure in _FIGURES if figure in profile}
        if profile.get("quantiles"):
            found[column, "median"] = profile["quantiles"].get("0.5")
        if profile.get("most_frequent"):
            found[column, "most_frequent"] = profile["most_frequent"][0]["value"]
    return found
