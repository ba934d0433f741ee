"""Job ``registry.mirror``: MLflow's registry shows the aliases that ours has, for those who look or load there.

Ours stay the ones that count. What the job does follows from where the aliases point when it runs, so that a late or a
repeated run does no harm.
"""

from dataclasses import dataclass
from typing import Any

from tidemill.adapters import mlflow_registry
from tidemill.db.engine import transaction
from tidemill.features.registry import queries, service
from tidemill.features.registry.kinds import MirrorPayload
from tidemill.jobs.definition import JobContext
from tidemill.kit.errors import Invalid, NotFound

_ROUNDS = 5


@dataclass(frozen=True)
class _Ours:
    """``uris``: alias to the address in MLflow of its model. ``names``: every alias that the model ever had."""

    uris: dict[str, str | None]
    names: set[str]


async def run_mirror(ctx: JobContext, payload: MirrorPayload) -> dict[str, Any]:
    """Point MLflow's aliases of the same names at the same models; other aliases there are left alone."""
    ours, shown = await _read(ctx, payload.model_name), dict[str, str]()
    for _ in range(_ROUNDS):
        try:
            shown = await _show(ctx, payload.model_name, ours)
        except NotFound:  # imported under another name, or deleted in MLflow
            break
        # Two such jobs may overtake each other; whichever wrote last finds here that it was late.
        before, ours = ours, await _read(ctx, payload.model_name)
        if ours == before:
            break
    return {"aliases": shown}


async def _read(ctx: JobContext, model_name: str) -> _Ours:
    async with transaction(ctx.services.sessions) as session:
        # Whoever moves an alias holds this lock until the commit that also brought this job.
        model = await service.locked_model(session, model_name)
        uris = await queries.mlflow_uris_of_aliases(session, model.id)
        return _Ours(uris, await queries.aliases_ever(session, model.id))


async def _show(ctx: JobContext, name: str, ours: _Ours) -> dict[str, str]:
    there = await mlflow_registry.read(ctx.services.mlflow, name)
    found = {alias: there.versions.get(uri or "") for alias, uri in ours.uris.items()}
    wanted = {alias: version for alias, version in found.items() if version is not None}
    for alias in sorted(ours.names):
        if wanted.get(alias) != there.aliases.get(alias):
            await _point(ctx, name, alias, wanted.get(alias))
    return wanted


async def _point(ctx: JobContext, name: str, alias: str, version: str | None) -> None:
    try:
        await mlflow_registry.point(ctx.services.mlflow, name, alias, version)
    except Invalid:  # a name that MLflow reserves, such as v1
        await ctx.log("warning", f"MLflow does not take the alias {alias}")
