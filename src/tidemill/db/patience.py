"""Connections that do not wait for ever for a PostgreSQL that has fallen silent.

PostgreSQL ends a statement that takes too long itself. One that is frozen, or behind a network that drops what is sent,
ends nothing and closes nothing, and the driver has no limit of its own: whoever waits for an answer would wait with it.
"""

import asyncio
import contextlib
import os
import socket
from typing import Any

import psycopg

_MARGIN_SECONDS = 5
"""For what PostgreSQL ends by itself to be told."""


class PatientConnection(psycopg.AsyncConnection[Any]):
    """Hangs up when no answer came for so long; the driver then says that the connection was lost."""

    answer_seconds: float
    probe_seconds: float

    async def wait(self, *arguments: Any, **options: Any) -> Any:
        """As the driver's own, but no longer than a statement may take."""
        # SQLAlchemy looks in autocommit whether a connection of its pool is still good, which takes no time.
        seconds = self.probe_seconds if self.autocommit else self.answer_seconds
        alarm = asyncio.get_running_loop().call_later(seconds, _hang_up, self.pgconn.socket)
        try:
            return await super().wait(*arguments, **options)
        finally:
            alarm.cancel()


def patient_connection(statement_seconds: float, probe_seconds: float) -> type[PatientConnection]:
    """``statement_seconds``: what PostgreSQL allows a statement. ``probe_seconds``: for one that asks for nothing."""
    limits = {"answer_seconds": statement_seconds + _MARGIN_SECONDS, "probe_seconds": probe_seconds}
    return type("PatientConnection", (PatientConnection,), limits)


def _hang_up(descriptor: int) -> None:
    """Both ends see the end of the connection; its descriptor stays the driver's."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
        connection.shutdown(socket.SHUT_RDWR)
