"""``python -m tidemill.kit.probe URL``: exit 0 if an HTTP address answers with success, else 1. For health checks.

Of the standard library alone, since it runs every few seconds in every container.
"""

import sys
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

_TIMEOUT_SECONDS = 4.0


def answers(url: str) -> bool:
    """True if ``GET url`` (plain http) gives a status below 400 in time."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status < 400
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def main() -> None:
    sys.exit(0 if answers(sys.argv[1]) else 1)


if __name__ == "__main__":
    main()
