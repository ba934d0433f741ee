"""Jobs of datasets: ingest a raw file, collect what nobody refers to."""

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from tidemill.adapters.object_store import ObjectStore
from tidemill.db import locks
from tidemill.db.engine import transaction
from tidemill.db.tables.datasets import DatasetVersion
from tidemill.features.datasets import collector, service
from tidemill.features.datasets.keys import part_key, raw_key
from tidemill.features.datasets.kinds import COLLECT, INGEST, CollectPayload, IngestPayload
from tidemill.features.datasets.service import Ingested
from tidemill.features.datasets.states import VersionState
from tidemill.jobs.definition import JobContext, Progress, TaskDefinition
from tidemill.jobs.returned import returned_file
from tidemill.jobs.schedules import Schedule
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Conflict, Invalid, NotFound
from tidemill.kit.hashing import sha256_of_json
from tidemill.kit.trees import remove_tree
from tidemill.sandbox.policy import Reach

_ENTRY = "tidemill.training.ingest.lean:normalise"
_ROUNDS = 3
_PARTS = "parts-"


async def run_ingest(ctx: JobContext, payload: IngestPayload) -> dict[str, Any]:
    """Make a pending version ready. A file that is refused leaves nothing but the job's error."""
    try:
        return await _ingest(ctx, payload.version_id)
    except (Invalid, NotFound, Conflict):
        async with ctx.transaction() as session:
            await service.discard(session, payload.version_id)
        raise


async def _ingest(ctx: JobContext, version_id: str) -> dict[str, Any]:
    """If another version changes the contract meanwhile, check against the new one; at most three times."""
    async with ctx.scratch() as folder:
        for _ in range(_ROUNDS):
            async with transaction(ctx.services.sessions) as session:
                version = await service.get_by_id(session, version_id)
                contract = await service.contract_of(session, version)
            if version.state == VersionState.READY:
                return _result(version)
            ingested = await _normalise(ctx, version, contract, folder)
            async with ctx.transaction() as session:
                finished = await service.finish(session, version_id, ingested, contract)
            if finished is not None:
                return _result(finished)
            await ctx.log("info", "The dataset's contract changed meanwhile; checking against the new one")
    raise Conflict("contract_kept_changing", "The dataset's contract kept changing while the file was read.")


async def _normalise(
    ctx: JobContext, version: DatasetVersion, contract: dict[str, Any] | None, folder: Path
) -> Ingested:
    raw = folder / "raw"
    if not raw.exists():
        await ctx.progress(Progress("fetching"))
        await ctx.services.store.download(raw_key(version.sha256), raw, version.sha256)
    for earlier in folder.glob(f"{_PARTS}*"):
        await asyncio.to_thread(remove_tree, earlier)
    output = Path(tempfile.mkdtemp(prefix=_PARTS, dir=folder))  # a new one, whatever of an earlier one would not go
    request = {
        "source": str(raw),
        "filename": version.filename,
        "output": str(output),
        "options": version.options,
        "contract": contract,
    }
    result = await ctx.compute(_ENTRY, request, Reach(read=(raw,), write=(output,)))
    for warning in result["warnings"]:
        await ctx.log("warning", warning)
    await ctx.progress(Progress("storing"))
    return Ingested(
        table_schema={"columns": result["columns"]},
        row_count=result["row_count"],
        parts=await _store_parts(ctx.services.store, result["parts"], output),
        profile=result["profile"],
        source=result["source"],
        warnings=result["warnings"],
    )


async def _store_parts(store: ObjectStore, parts: list[dict[str, Any]], output: Path) -> list[dict[str, Any]]:
    """Always written, even if the same bytes lie there: a young object is no orphan to the collector."""
    digest = sha256_of_json([part["sha256"] for part in parts])
    stored = []
    for index, part in enumerate(parts):
        key = part_key(digest, index)
        path = await asyncio.to_thread(returned_file, part["path"], output, part["sha256"], part["size_bytes"])
        await store.upload(key, path)
        stored.append({"key": key, **{name: part[name] for name in ("sha256", "size_bytes", "row_count")}})
    return stored


def _result(version: DatasetVersion) -> dict[str, Any]:
    return {
        "dataset": version.dataset_name,
        "version_id": version.id,
        "number": version.number,
        "row_count": version.row_count,
        "column_count": len((version.table_schema or {}).get("columns", [])),
        "warnings": version.warnings,
    }


async def run_collect(ctx: JobContext, payload: CollectPayload) -> dict[str, Any]:
    """Delete stale uploads, bytes that no version refers to, and pending versions whose job has ended."""
    before = utc_now() - timedelta(hours=payload.min_age_hours)
    async with locks.try_lock(ctx.services.sessions, locks.DELETING_OBJECTS, shared=True) as allowed:
        if allowed is None:  # a backup copies what its dump names; the next run collects
            return {"held_off_by": "backup"}
        return await collector.collect(ctx.services.store, ctx.services.sessions, before)


INGEST_TASK = TaskDefinition(INGEST.kind, INGEST.queue, IngestPayload, run_ingest, INGEST.timeout_seconds)
COLLECT_TASK = TaskDefinition(COLLECT.kind, COLLECT.queue, CollectPayload, run_collect, COLLECT.timeout_seconds)
TASKS: tuple[TaskDefinition[Any], ...] = (INGEST_TASK, COLLECT_TASK)
HOURLY = Schedule(name="datasets-collect", cron="23 * * * *", task=COLLECT_TASK, payload=CollectPayload())
