"""How the platform does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tidemill.client.transport import Transport
from tidemill.kit.errors import Unavailable
from tidemill.schemas.health import HealthChecks


@dataclass(frozen=True)
class Readiness:
    """failed: names of the checks that keep a server from its work. noticed: of those that people should look at."""

    failed: Sequence[str]
    noticed: Sequence[str]


class Health:
    """``tidemill.health``: how every part of the platform does, for operators."""

    def __init__(self, transport: Transport, model_server: Transport) -> None:
        self._transport = transport
        self._model_server = model_server

    def checks(self) -> HealthChecks:
        """What the api finds out about every part of the platform. Needs the scope ``admin``."""
        return HealthChecks.model_validate(self._transport.request("GET", "/api/v1/health/checks"))

    def model_server_ready(self) -> Readiness:
        """What the model server behind this client's address says of itself. Raises Unavailable if none answers.

        Where one address leads to both servers, as behind Nginx, ``/readyz`` is the api's: then one must answer at all.
        """
        if self._model_server.url == self._transport.url:
            self._model_server.send("GET", "/ping")
            return Readiness((), ())
        is_ready, found = self._model_server.look("/readyz", {"verbose": ""})
        if not isinstance(found, dict) or "checks" not in found:
            raise Unavailable("answer_not_health", f"{self._model_server.url} does not answer as a model server does.")
        failed = _fails(found["checks"])
        if not failed and not is_ready:
            failed = ("readiness",)
        return Readiness(failed, _fails(found.get("notices")))

    @property
    def addresses(self) -> tuple[str, str]:
        """Of api and model server."""
        return self._transport.url, self._model_server.url


def _fails(results: Any) -> tuple[str, ...]:
    return tuple(name for name, passes in results.items() if passes is False) if isinstance(results, dict) else ()
