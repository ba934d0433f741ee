"""Golden predictions: recent rows of the ledger that a restored stack must answer with the same bytes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Invalid

_SPAN = timedelta(days=90)
_MOST_RECENT = 5_000
_MOST_ROW_BYTES = 2**20
"""Larger rows are left out of the sample: they prove no more, and a backup keeps the ledger itself."""
_DEPLOYMENTS = text("SELECT name FROM deployments ORDER BY name LIMIT 1000")
_ROWS = text("""
    SELECT deployment, model_name, model_version, prediction_id, inputs::text AS inputs, output::text AS output FROM (
        SELECT *, row_number() OVER (
            PARTITION BY model_name, model_version ORDER BY predicted_at DESC, prediction_id DESC) AS position
        FROM (
            SELECT deployment, model_name, model_version, prediction_id, predicted_at,
                   inputs, output
            FROM predictions WHERE deployment = :deployment AND predicted_at >= :since
            ORDER BY predicted_at DESC, prediction_id DESC LIMIT :most_recent
        ) AS recent
    ) AS numbered
    WHERE position <= :rows AND octet_length(inputs::text) + octet_length(output::text) <= :most_bytes AND EXISTS (
        SELECT 1 FROM model_versions v
        WHERE v.model_name = numbered.model_name AND v.number = numbered.model_version AND v.deleted_at IS NULL)
    ORDER BY model_name, model_version, position
""")


@dataclass(frozen=True, slots=True)
class GoldenRow:
    deployment: str
    model_name: str
    model_version: int
    prediction_id: str
    inputs: dict[str, Any]
    output: Any


_ROW: TypeAdapter[GoldenRow] = TypeAdapter(GoldenRow)


@dataclass(frozen=True, slots=True)
class GoldenCount:
    rows: int
    versions: int


async def write_sample(connection: AsyncConnection, rows_each: int, path: Path) -> GoldenCount:
    """Write the newest ``rows_each`` rows of each version that each deployment answered with lately, as NDJSON."""
    rows, versions = 0, set()
    with path.open("w", encoding="utf-8") as out:
        for deployment in (await connection.execute(_DEPLOYMENTS)).scalars().all():
            values = {
                "deployment": deployment,
                "since": utc_now() - _SPAN,
                "most_recent": _MOST_RECENT,
                "rows": rows_each,
                "most_bytes": _MOST_ROW_BYTES,
            }
            for row in await connection.execute(_ROWS, values):
                out.write(_line(row) + "\n")
                rows += 1
                versions.add((row.deployment, row.model_name, row.model_version))
    return GoldenCount(rows, len(versions))


def _line(row: Any) -> str:
    """Inputs and output stay as they were recorded, to the last digit."""
    named = {
        "deployment": row.deployment,
        "model_name": row.model_name,
        "model_version": row.model_version,
        "prediction_id": row.prediction_id,
    }
    return f'{json.dumps(named)[:-1]}, "inputs": {row.inputs}, "output": {row.output}}}'


def read_sample(path: Path) -> Iterator[tuple[str, list[GoldenRow]]]:
    """``model:number`` and the rows of each version and deployment; one group is in memory at a time.

    Raises Invalid, naming the line, for what is no sample.
    """
    with path.open("rb") as lines:
        rows = (_row(line, number, path.name) for number, line in enumerate(lines, 1))
        for (_, model, number), group in groupby(rows, lambda r: (r.deployment, r.model_name, r.model_version)):
            yield f"{model}:{number}", list(group)


def _row(line: bytes, number: int, name: str) -> GoldenRow:
    """With the numbers of inputs and output as Python reads them, which is how answers are compared."""
    try:
        content = json.loads(line)
        _ROW.validate_python(content)
        return GoldenRow(**content)
    except (ValueError, TypeError, RecursionError):
        raise Invalid(
            "backup_damaged", f"The golden predictions of the backup ({name}) are damaged at line {number}."
        ) from None
