"""A server on loopback for the client's own transport."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tidemill.client.transport import Transport


class QuietHandler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *_arguments: object) -> None:  # noqa: A002
        """Keep quiet."""


@contextmanager
def transport_to(handler: type[QuietHandler]) -> Iterator[Transport]:
    """A transport to a server that answers with ``handler`` while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    transport = Transport(f"http://127.0.0.1:{server.server_port}", None)
    try:
        yield transport
    finally:
        transport.close()
        server.shutdown()
        server.server_close()
        thread.join(10)
