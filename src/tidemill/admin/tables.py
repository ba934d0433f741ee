"""What the commands about backups show to people."""

from collections.abc import Iterable
from typing import Any

from rich.table import Table

from tidemill.admin.drill import DrillResult
from tidemill.backup.create import Made
from tidemill.backup.manifest import Manifest
from tidemill.backup.verify import Checked
from tidemill.cli.context import make_table

_MOST_SHOWN = 50
_UNITS = ("B", "kB", "MB", "GB", "TB")


def size_text(size_bytes: float) -> str:
    """In decimal units, such as ``1.5 MB``."""
    for unit in _UNITS[:-1]:
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} {_UNITS[-1]}"


def backup_row(manifest: Manifest) -> tuple[Any, ...]:
    return (
        manifest.id,
        manifest.environment,
        f"{manifest.created_at:%Y-%m-%d %H:%M:%S}",
        manifest.versions.tidemill,
        manifest.dump_of("tidemill").schema_revision,
        manifest.objects.count,
        manifest.objects.copied_count,
        size_text(manifest.size_bytes),
        manifest.golden.rows,
        "yes" if manifest.recipient else "no",
    )


def made_lines(made: Made) -> list[str]:
    manifest, objects = made.manifest, made.manifest.objects
    seconds = (manifest.finished_at - manifest.created_at).total_seconds()
    return [
        f"Backup {manifest.id} of {size_text(manifest.size_bytes)} after {seconds:.1f} s.",
        f"  {objects.count} objects, {objects.copied_count} of them new ({size_text(objects.copied_bytes)})",
        f"  {manifest.golden.rows} golden predictions of {manifest.golden.versions} model versions",
        f"  {'encrypted for ' + manifest.recipient if manifest.recipient else 'not encrypted'}",
        *([f"  {len(made.pruned)} older backups removed"] if made.pruned else []),
    ]


def checked_table(title: str, checked: Checked) -> Iterable[str | Table]:
    summary = f"{title}: {checked.checked_count} checked ({size_text(checked.checked_bytes)}), "
    yield summary + ("all well." if checked.ok else f"{checked.finding_count} wrong.")
    if not checked.ok:
        rows = [(finding.what, finding.wrong) for finding in checked.findings[:_MOST_SHOWN]]
        yield make_table(None, "what", "is", rows=rows)
        if checked.finding_count > len(rows):
            yield f"and {checked.finding_count - len(rows)} more; --output json names up to 1000"


def drill_table(result: DrillResult) -> Iterable[str | Table]:
    columns = ("version", "golden rows", "identical", "last digit", "differing", "error")
    rows = [(v.reference, v.rows, v.identical, v.rounded, v.differing, v.error) for v in result.versions]
    yield make_table(f"Backup {result.backup_id}", *columns, rows=rows)
    yield f"{result.dangling} objects missing."
    yield "The restored stack answers as the old one did." if result.passed else "The drill failed."
