"""Deployments."""

import time
from collections.abc import Callable, Iterator

from tidemill.client.pages import iterate
from tidemill.client.transport import Transport, segment
from tidemill.kit.errors import DeadlineExceeded, Invalid, TidemillError, Unavailable
from tidemill.schemas.deployments import Deployment, DeploymentEvent, DeploymentStatus

_POLL_SECONDS = 0.3


class Deployments:
    """``tidemill.deployments``: names under which models are served."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def apply(self, name: str, model: str) -> Deployment:
        """Serve ``model`` (``name@alias``, ``name:3`` or ``name``) under ``name``; the same again changes nothing."""
        answer = self._transport.request("PUT", f"/api/v1/deployments/{segment(name)}", json={"model": model})
        return Deployment.model_validate(answer)

    def get(self, name: str) -> Deployment:
        """What the deployment serves now, and its signature."""
        return Deployment.model_validate(self._transport.request("GET", f"/api/v1/deployments/{segment(name)}"))

    def list(self) -> Iterator[Deployment]:
        """All deployments by name, page by page."""
        return iterate(self._transport, "/api/v1/deployments", Deployment)

    def status(self, name: str) -> DeploymentStatus:
        """Where the deployment stands on each model server."""
        path = f"/api/v1/deployments/{segment(name)}/status"
        return DeploymentStatus.model_validate(self._transport.request("GET", path))

    def history(self, name: str) -> Iterator[DeploymentEvent]:
        """Its changes, newest first."""
        return iterate(self._transport, f"/api/v1/deployments/{segment(name)}/history", DeploymentEvent)

    def delete(self, name: str) -> None:
        """Stop serving under this name. Its predictions and its history stay."""
        self._transport.request("DELETE", f"/api/v1/deployments/{segment(name)}")

    def wait(
        self, name: str, timeout_seconds: float = 120, on_status: Callable[[DeploymentStatus], None] | None = None
    ) -> DeploymentStatus:
        """Return when every model server serves the wanted version.

        Raises Invalid if a server cannot load it, DeadlineExceeded when it takes longer. Asks on while the api is away.
        """
        ends_at = time.monotonic() + timeout_seconds
        while True:
            status = self._asked(name)
            if status is not None:
                if on_status is not None:
                    on_status(status)
                if status.state == "ready":
                    return status
                _raise_if_failed(status)
            if time.monotonic() >= ends_at:
                raise DeadlineExceeded("deployment_not_ready", f"No model server was ready in {timeout_seconds:g} s.")
            time.sleep(_POLL_SECONDS)

    def _asked(self, name: str) -> DeploymentStatus | None:
        try:
            return self.status(name)
        except Unavailable:
            return None


def _raise_if_failed(status: DeploymentStatus) -> None:
    failed = next((server for server in status.servers if server.state == "failed"), None)
    if failed is not None:
        error: TidemillError = Invalid(
            failed.error_code or "model_not_loadable", failed.error_detail or "Not loadable."
        )
        if failed.model_version is not None:
            error.add_note(f"version {failed.model_version} goes on serving")
        raise error
