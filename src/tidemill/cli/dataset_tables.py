"""Versions of datasets as tables for people."""

from collections.abc import Iterable
from typing import Any

from rich.markup import escape

from tidemill.cli.context import make_table
from tidemill.kit.sizes import format_size
from tidemill.schemas.datasets import Version, VersionDiff, VersionSummary

_NAME_CHARACTERS = 48
_VALUE_CHARACTERS = 24


def headline(version: Version) -> str:
    size = format_size(version.size_bytes)
    rows = f"{version.row_count:,} rows, {version.column_count} columns"
    filename = escape(version.filename)
    return f"{version.dataset} version {version.number}: {rows}, {size} ({filename}, {version.sha256[:12]})"


def reading(version: Version) -> str:
    """How the file was read, for those who did not say it."""
    source = version.source
    guessed = " (a guess)" if source.get("encoding_guessed") else ""
    words = [
        str(source.get("format", "unknown format")),
        f"{source['compression']}" if source.get("compression", "none") != "none" else "",
        f"{source['encoding']}{guessed}" if source.get("encoding") else "",
        f"delimiter {_mark(source['delimiter'])}" if source.get("delimiter") else "",
        f"sheet {escape(source['sheet'])}" if source.get("sheet") else "",
        "" if source.get("has_header", True) else "without header",
    ]
    return "read as " + ", ".join(word for word in words if word)


def _mark(character: str) -> str:
    return {"\t": "tab", " ": "space"}.get(character, character)


def schema_tables(version: Version, most: int) -> list[Any]:
    """The first ``most`` columns with the main figures, and how many there are besides."""
    profiles = version.profile.get("columns", {})
    columns = version.table_schema.columns
    rows = [
        (
            _cut(column.name, _NAME_CHARACTERS),
            column.type,
            f"{figures['missing_share']:.1%}" if figures["missing"] else "",
            f"{'~' if figures['distinct_approximate'] else ''}{figures['distinct']}",
            _middle(figures),
            _frequent(figures),
        )
        for column in columns[:most]
        for figures in [profiles[column.name]]
    ]
    table = make_table(
        None, "column", "type", "missing", "distinct", "min .. median .. max", "most frequent", rows=rows
    )
    more = len(columns) - len(rows)
    return [table, f"and {more:,} more columns: tidemill dataset show {version.dataset} --all"] if more else [table]


def dependents(version: Version) -> list[str]:
    """What keeps the version from being deleted, if anything does."""
    return [f"needed by {', '.join(version.pinned_by)}"] if version.pinned_by else []


def _middle(figures: dict[str, Any]) -> str:
    if figures.get("quantiles"):
        about = "~" if figures["quantiles_approximate"] else ""
        return f"{_short(figures['min'])} .. {about}{_short(figures['quantiles']['0.5'])} .. {_short(figures['max'])}"
    return f"{figures['true_share']:.1%} true" if figures.get("true_share") is not None else ""


def _frequent(figures: dict[str, Any]) -> str:
    return ", ".join(_short(item["value"]) for item in figures.get("most_frequent", [])[:3])


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if 1e5 <= abs(value) < 1e15 else f"{value:.5g}"
    return _cut(str(value), _VALUE_CHARACTERS)


def _shown(value: Any) -> Any:
    return _short(value) if isinstance(value, (str, float)) else value


def _cut(text: str, most: int) -> str:
    """On one line, and never taken for a colour."""
    line = " ".join(text.splitlines())
    return escape(line if len(line) <= most else line[: most - 1] + "…")


def versions_table(versions: Iterable[VersionSummary]) -> Any:
    rows = [
        (item.number, item.row_count, item.column_count, format_size(item.size_bytes),
         _cut(item.filename, _NAME_CHARACTERS), item.sha256[:12], f"{item.created_at:%Y-%m-%d %H:%M}")
        for item in versions
    ]  # fmt: skip
    return make_table("Versions", "version", "rows", "columns", "size", "file", "sha256", "created", rows=rows)


def diff_tables(found: VersionDiff) -> list[Any]:
    rows = f"rows: {found.row_count_before:,} -> {found.row_count_after:,}"
    changes = [
        (change.change, _cut(change.name, _NAME_CHARACTERS), change.before.type if change.before else None,
         change.after.type if change.after else None)
        for change in found.columns
    ]  # fmt: skip
    figures = [
        (_cut(item.column, _NAME_CHARACTERS), item.figure, _shown(item.before), _shown(item.after))
        for item in found.figures
    ]
    return [
        f"{found.dataset}: version {found.before} -> {found.after}",
        rows,
        make_table("Columns", "change", "column", "before", "after", rows=changes) if changes else "columns: the same",
        make_table("Profile", "column", "figure", "before", "after", rows=figures),
    ]
