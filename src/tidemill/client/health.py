"""How the platform does."""

from tidemill.client.transport import Transport
from tidemill.schemas.health import HealthChecks


class Health:
    """``tidemill.health``: how every part of the platform does, for operators."""

    def __init__(self, transport: Transport, model_server: Transport) -> None:
        self._transport = transport
        self._model_server = model_server

    def checks(self) -> HealthChecks:
        """What the api finds out about every part of the platform. Needs the scope ``admin``."""
        return HealthChecks.model_validate(self._transport.request("GET", "/api/v1/health/checks"))

    def model_server_ready(self) -> None:
        """Raises Unavailable unless the model server behind this client's address can predict.

        Where one address leads to both servers, as behind Nginx, ``/readyz`` is the api's: then one must answer at all.
        """
        shared = self._model_server.url == self._transport.url
        self._model_server.send("GET", "/ping" if shared else "/readyz")

    @property
    def addresses(self) -> tuple[str, str]:
        """Of api and model server."""
        return self._transport.url, self._model_server.url
