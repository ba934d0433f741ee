"""What other features ask about jobs before they start one for a caller."""

from fastapi import Depends, Request

from tidemill.auth.access import principal_of
from tidemill.db.engine import transaction
from tidemill.deps import ServicesDep
from tidemill.jobs import service as jobs


async def room_for_job(request: Request, services: ServicesDep) -> None:
    """A dependency of routes that start a job: 409 (``jobs_too_many``) while too many of the key's wait."""
    principal = principal_of(request.scope)
    if principal is not None:
        async with transaction(services.sessions) as session:
            await jobs.require_room(session, principal.key_id, services.settings.api.max_queued_jobs_per_key)


JobRoom = Depends(room_for_job)
