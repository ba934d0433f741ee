"""What the commands about backups show to people."""

from collections.abc import Iterable
from typing import Any

from rich.table import Table

from tidemill.admin.drill import DrillResult
from tidemill.backup.create import Made
from tidemill.backup.manifest import DamagedBackup, Manifest
from tidemill.backup.restore import Restored
from tidemill.backup.verify import Checked
from tidemill.cli.context import make_table
from tidemill.kit.sizes import format_size

_MOST_SHOWN = 50


def backup_row(manifest: Manifest | DamagedBackup) -> tuple[Any, ...]:
    if isinstance(manifest, DamagedBackup):
        return (manifest.id, f"damaged ({manifest.damaged})", *[None] * 8)
    return (
        manifest.id,
        manifest.environment,
        f"{manifest.created_at:%Y-%m-%d %H:%M:%S}",
        manifest.versions.tidemill,
        manifest.dump_of("tidemill").schema_revision,
        manifest.objects.count,
        manifest.objects.copied_count,
        format_size(manifest.size_bytes),
        manifest.golden.rows,
        "yes" if manifest.recipient else "no",
    )


def made_lines(made: Made) -> list[str]:
    manifest, objects = made.manifest, made.manifest.objects
    seconds = (manifest.finished_at - manifest.created_at).total_seconds()
    return [
        f"Backup {manifest.id} of {format_size(manifest.size_bytes)} after {seconds:.1f} s.",
        f"  {objects.count} objects, {objects.copied_count} of them new ({format_size(objects.copied_bytes)})",
        f"  {manifest.golden.rows} golden predictions of {manifest.golden.versions} model versions",
        f"  {'encrypted for ' + manifest.recipient if manifest.recipient else 'not encrypted'}",
        *([f"  {len(made.pruned)} older backups removed"] if made.pruned else []),
    ]


def restored_lines(restored: Restored) -> list[str]:
    written = f"Restored both databases and {restored.objects} objects ({format_size(restored.size_bytes)})."
    return [written, *(["The backup was older; its schema was migrated."] if restored.migrated else [])]


def checked_table(title: str, checked: Checked) -> Iterable[str | Table]:
    summary = f"{title}: {checked.checked_count} checked ({format_size(checked.checked_bytes)}), "
    yield summary + ("all well." if checked.ok else f"{checked.finding_count} wrong.")
    if not checked.unsealed:
        yield "Compared as stored: without the identity nothing could be decrypted."
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
