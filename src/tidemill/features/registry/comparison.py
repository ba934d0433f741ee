"""Job ``registry.compare``: two versions side by side, scored on the same holdout rows where that is possible."""

from typing import Any

from tidemill.db.engine import transaction
from tidemill.db.tables.registry import ModelVersion
from tidemill.features.registry import service, views
from tidemill.features.registry.adopted import Scored
from tidemill.features.registry.kinds import ComparePayload
from tidemill.features.registry.material import Material
from tidemill.jobs.definition import JobContext, Progress
from tidemill.jobs.returned import returned_record
from tidemill.schemas.registry import Compare, VersionComparison

_ENTRY = "tidemill.training.gate:compare"


async def run_compare(ctx: JobContext, payload: ComparePayload) -> dict[str, Any]:
    """The rows are the holdout of the first version, or of the second if the first has none."""
    wish = payload.request
    async with transaction(ctx.services.sessions) as session:
        model = await service.get_model(session, payload.model_name)
        other_model = await service.get_model(session, wish.other_model or payload.model_name)
        first = await service.get_version(session, model, wish.version)
        second = await service.get_version(session, other_model, wish.other)
        shown = {"first": await views.version_view(session, first), "second": await views.version_view(session, second)}
    found = await _score(ctx, first, second, wish)
    result = VersionComparison(**shown, confidence=wish.confidence, **found)
    return result.model_dump(mode="json")


async def _score(ctx: JobContext, first: ModelVersion, second: ModelVersion, wish: Compare) -> dict[str, Any]:
    host = first if first.holdout_key is not None else second
    if host.holdout_key is None:
        return {"scored": False, "reason": "neither version has a holdout"}
    await ctx.progress(Progress("scoring", message=f"Versions {first.number} and {second.number}"))
    async with ctx.scratch() as folder:
        material = Material(ctx.services, folder)
        request = {
            "first": await material.contestant(first),
            "second": await material.contestant(second),
            "holdout_of": "first" if host is first else "second",
            "parts": await material.parts(host.dataset_version_id),
            "confidence": wish.confidence,
            "resamples": wish.resamples,
            "seed": wish.seed,
        }
        found = await ctx.compute(_ENTRY, request, material.reach(first, second))
    return {**returned_record(Scored, found).model_dump(), "holdout_of": host.number}
