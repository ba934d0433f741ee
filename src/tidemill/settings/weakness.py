"""Secrets that no environment but a developer's own may start with: short, guessable, copied from an example."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

from tidemill.kit.errors import Invalid, Problem
from tidemill.settings.addresses import is_remote, password_of
from tidemill.settings.model import Settings
from tidemill.settings.names import variable_name

LOCAL = "local"
SHORTEST = 20
_FEWEST_DISTINCT = 8
_GUESSABLE = re.compile(
    r"(?i)passw|secret|change.?me|example|minioadmin|admin|postgres|tidemill|mlflow|default|qwert|letmein|12345|abcdef"
)
_TOKEN = re.compile(r"^tm_(?P<environment>[a-z][a-z0-9]{0,15})_[0-9a-f]{32}_(?P<secret>[0-9A-Za-z]{38})$")
_AGE_IDENTITY = "AGE-SECRET-KEY-"
_NAMES_NOT_SECRETS = frozenset({"access_key_id"})
"""Masked when they are shown, but no protection rests on them; known examples are refused all the same."""
_KEYS = frozenset({("model_server", "key")})
_IDENTITIES = frozenset({("backup", "identity")})
_STORE_SECRETS = ("AWS_SECRET_ACCESS_KEY",)


def refuse_weak_secrets(settings: Settings, environ: Mapping[str, str]) -> None:
    """Raises Invalid naming every setting that holds a weak secret, never the secret. Local platforms are exempt."""
    if settings.environment == LOCAL:
        return
    problems = [
        Problem(variable_name(path), "secret_weak", reason)
        for path, secret in _secrets(settings, ())
        if (reason := _weakness(path, secret, settings.environment)) is not None
    ]
    problems += [
        Problem(name, "secret_weak", reason)
        for name in _STORE_SECRETS
        if name in environ and (reason := weakness_of(environ[name])) is not None
    ]
    if problems:
        first = problems[0]
        raise Invalid("secret_weak", f"Setting {first.pointer}: {first.detail}", problems)


def weakness_of(secret: str) -> str | None:
    """Why ``secret`` protects nothing, None if it may be good."""
    if len(secret) < SHORTEST:
        return f"The secret is shorter than {SHORTEST} characters."
    if _GUESSABLE.search(secret):
        return "The secret holds a word that is guessed first."
    if len(set(secret)) < _FEWEST_DISTINCT:
        return "The secret repeats a few characters."
    return None


def _weakness(path: tuple[str, ...], secret: str, environment: str) -> str | None:
    if path in _KEYS:
        return weakness_of_key(secret, environment)
    if path in _IDENTITIES:
        return next(filter(None, map(weakness_of, _identities_in(secret))), None)
    if path[-1] in _NAMES_NOT_SECRETS:
        return "The name is an example's." if _GUESSABLE.search(secret) else None
    if path[-1].endswith("url"):
        return _weakness_of_address(secret)
    return weakness_of(secret)


def weakness_of_key(token: str, environment: str) -> str | None:
    """Why an API key is none for ``environment``, None if it may be one. Local platforms are exempt."""
    if environment == LOCAL:
        return None
    match = _TOKEN.match(token)
    if match is None:
        return "The value is no API key."
    if match["environment"] != environment:
        return "The API key is of another environment."
    return "The secret repeats a few characters." if len(set(match["secret"])) < _FEWEST_DISTINCT else None


def _identities_in(text: str) -> Iterator[str]:
    """The random part of each age identity in a file of them, whose other lines are comments."""
    for line in map(str.strip, text.splitlines()):
        if line and not line.startswith("#"):
            yield line.removeprefix(_AGE_IDENTITY)


def _weakness_of_address(address: str) -> str | None:
    password = password_of(address)
    if password is None:
        return "The server is addressed without a password." if is_remote(address) else None
    return weakness_of(password)


def _secrets(section: BaseModel, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    for name in type(section).model_fields:
        value: Any = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _secrets(value, (*above, name))
        elif isinstance(value, SecretStr):
            yield (*above, name), value.get_secret_value()
