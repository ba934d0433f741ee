"""Addresses of databases, ``scheme://user@host/name``, and the passwords in them."""

from urllib.parse import quote, unquote, urlsplit


def with_password(address: str, password: str) -> str:
    """``address`` with ``password`` for its user, in place of the one it may hold."""
    parts = urlsplit(address)
    user, _, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    return parts._replace(netloc=f"{name}:{quote(password, safe='')}@{host}").geturl()


def password_of(address: str) -> str | None:
    """The password in ``address``, None if it holds none."""
    password = urlsplit(address).password
    return None if password is None else unquote(password)


def is_remote(address: str) -> bool:
    """True if ``address`` names a server by host rather than by socket."""
    return bool(urlsplit(address).hostname)
