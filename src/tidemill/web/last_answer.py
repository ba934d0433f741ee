"""The last answer on a connection says so: while the process stops, and where the client still holds its body back."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class LastAnswerMiddleware:
    """Adds ``Connection: close`` once ``app.state.stopping`` is set (`tidemill.web.server.Server`).

    And to the answer to ``Expect: 100-continue`` that came before anybody wanted the body: what the client sends next
    may be the body or another request, and nobody could tell (RFC 9110, 10.1.1).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        held_back = "100-continue" in Headers(scope=scope).get("expect", "").lower()

        async def noting_receive() -> Message:
            nonlocal held_back
            held_back = False
            return await receive()

        async def send_and_close(message: Message) -> None:
            is_last = held_back or _is_stopping(scope)
            if is_last and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        await self.app(scope, noting_receive if held_back else receive, send_and_close)


def _is_stopping(scope: Scope) -> bool:
    """False around an application that is not ours, which nobody tells."""
    return getattr(getattr(scope.get("app"), "state", None), "stopping", False) is True
