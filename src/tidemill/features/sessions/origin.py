"""What a browser tells about where a request comes from, and where it may be led."""

import re
from urllib.parse import quote, urlsplit

from starlette.requests import Request

from tidemill.kit.errors import Forbidden

_LONGEST_PATH = 2000
_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")


def require_same_origin(request: Request) -> None:
    """Raise Forbidden if a browser says that another site's page made the request.

    A cookie proves who someone is, not that they meant it. Browsers tell by ``Sec-Fetch-Site``, older ones by
    ``Origin``; programs send neither.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        raise _foreign()
    origin, host = request.headers.get("origin"), request.headers.get("host")
    if origin is not None and not (host and _netloc(origin) == host):
        raise _foreign()


def own_path(path: str | None) -> str | None:
    """``path`` if it leads to this origin whatever a browser makes of it, else None."""
    if path is None or len(path) > _LONGEST_PATH or not _PATH.fullmatch(path):
        return None
    return path if _netloc(path) == "" else None


def sign_in_path(back_to: str | None) -> str:
    """Where to sign in, and come back from to ``back_to``."""
    path = own_path(back_to)
    return "/sign-in" if path is None else f"/sign-in?next={quote(path, safe='/')}"


def _netloc(address: str) -> str | None:
    """Host and port; None if it is no address."""
    try:
        return urlsplit(address).netloc
    except ValueError:
        return None


def _foreign() -> Forbidden:
    return Forbidden("foreign_origin", "The request comes from a page of another site.")
