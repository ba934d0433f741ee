"""API keys: ``tm_<environment>_<id>_<secret><checksum>``.

The secret holds 190 random bits; the checksum lets a scanner or a typing mistake be recognised without a database.
Only the SHA-256 of the secret is kept: slow hashing protects guessable passwords, which these are not.
"""

import base64
import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass

from tidemill.kit.errors import Unauthenticated

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH = 32
_CHECKSUM_LENGTH = 6
_TOKEN = re.compile(r"(tm_([a-z][a-z0-9]{0,15})_([0-9a-f]{32})_([0-9A-Za-z]{32}))([0-9A-Za-z]{6})")


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key as a caller sent it: well-formed, not yet known to be genuine."""

    key_id: str
    secret_sha256: str
    environment: str


def generate_token(environment: str, key_id: str) -> str:
    """A new token for the key ``key_<32 hex digits>``; shown once, never stored."""
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    body = f"tm_{environment}_{key_id.removeprefix('key_')}_{secret}"
    return body + _checksum(body)


def read_token(token: str, environment: str | None = None) -> PresentedKey:
    """Raises Unauthenticated if ``token`` cannot be one of ours, or is not of ``environment``, where that is given."""
    match = _TOKEN.fullmatch(token)
    if match is None or not hmac.compare_digest(_checksum(match[1]), match[5]):
        raise Unauthenticated("key_malformed", "The API key is not well-formed.")
    if environment is not None and match[2] != environment:
        raise Unauthenticated("key_foreign", "The API key is of another environment.")
    return PresentedKey(f"key_{match[3]}", hashlib.sha256(match[4].encode()).hexdigest(), match[2])


def token_of_header(authorization: str | None) -> str:
    """The token of ``Bearer <key>`` or of HTTP Basic with the key as password, as MLflow's clients send it."""
    if not authorization:
        raise Unauthenticated("key_missing", "An API key is required: Authorization: Bearer <key>.")
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        return _basic_password(value)
    raise Unauthenticated("key_scheme_unknown", "Authorization must be Bearer or Basic.")


def same_secret(stored_sha256: str, presented_sha256: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(stored_sha256, presented_sha256)


def _basic_password(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except ValueError:  # not base64, not even ASCII, or no text within
        raise Unauthenticated("key_malformed", "The Basic credentials are not well-formed.") from None


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
