"""How a deployment stands, from what the model servers say.

A deployment has no state of its own to store: it is what was applied, and the servers' reports say how far they are.

unresolved: its reference means no version now. pending: no server spoke of it. failed: a server cannot load the wanted
version (the old one goes on serving). loading: a server is on its way. ready: every server serves the wanted version.
"""

from collections.abc import Sequence

from tidemill.schemas.deployments import DeploymentState, ServerStatus


def state_of(wanted: tuple[str, int] | None, servers: Sequence[ServerStatus]) -> DeploymentState:
    """``wanted``: model name and version; ``servers``: those heard of lately that spoke of the deployment."""
    if wanted is None:
        return "unresolved"
    if not servers:
        return "pending"
    if any(server.state == "failed" for server in servers):
        return "failed"
    there = all(server.state == "ready" and (server.model_name, server.model_version) == wanted for server in servers)
    return "ready" if there else "loading"
