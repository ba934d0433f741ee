"""Where a setting's value comes from: environment over file over default, each remembered."""

import contextlib
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from tidemill.kit.errors import Invalid, Problem, TidemillError
from tidemill.kit.exit_codes import USAGE, exit_code_of
from tidemill.kit.own_files import told
from tidemill.settings.model import Settings
from tidemill.settings.names import PREFIX, variable_name
from tidemill.settings.weakness import refuse_weak_secrets

CONFIG_FILE = "TIDEMILL_CONFIG"
CLIENT_VARIABLES = frozenset({"TIDEMILL_URL", "TIDEMILL_API_KEY", "TIDEMILL_MODEL_SERVER_URL", CONFIG_FILE})
"""Read by the command line and the SDK; no settings of a process."""

_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """One setting as ``tidemill config show`` prints it; secrets are masked."""

    name: str
    value: str
    source: str


def load_settings(environ: Mapping[str, str] | None = None, config_file: Path | None = None) -> Settings:
    """Read all settings. Raises Invalid naming each unknown, unusable or (but locally) weak one, never its value."""
    return load_settings_with_origins(environ, config_file)[0]


def settings_or_exit() -> Settings:
    """For a process's main: the settings, or one line on stderr that names what is wrong with them, and exit code 2."""
    with told_or_exit(USAGE):
        return load_settings()


@contextlib.contextmanager
def told_or_exit(code: int | None = None) -> Iterator[None]:
    """For a process's main: an error of the domain, or of a disk, is told on stderr and ends the process.

    ``code``: the exit code, by default the error's own.
    """
    try:
        yield
    except (TidemillError, OSError) as raised:
        error = told(raised) if isinstance(raised, OSError) else raised
        sys.stderr.write(f"{error.title}: {error.detail}\n")
        sys.stderr.writelines(f"  {problem.pointer}: {problem.detail}\n" for problem in error.problems)
        sys.exit(exit_code_of(error) if code is None else code)


def load_settings_with_origins(
    environ: Mapping[str, str] | None = None, config_file: Path | None = None
) -> tuple[Settings, list[Origin]]:
    environ = os.environ if environ is None else environ
    if config_file is None and environ.get(CONFIG_FILE):
        config_file = Path(environ[CONFIG_FILE])
    known = dict(_leaves(Settings))
    sources: dict[_Path, str] = {}
    tree = _read_file(config_file, known, sources) if config_file else {}
    for path, value, source in _read_environment(environ, known):
        _put(tree, path, value)
        sources[path] = source
    settings = _validated(tree, sources)
    refuse_weak_secrets(settings, environ)
    return settings, [_origin(settings, path, sources) for path in known]


def _leaves(section: type[BaseModel], above: _Path = ()) -> Iterator[tuple[_Path, Any]]:
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _leaves(field.annotation, (*above, name))
        else:
            yield (*above, name), field.annotation


def _read_environment(environ: Mapping[str, str], known: Mapping[_Path, Any]) -> Iterator[tuple[_Path, Any, str]]:
    names = {variable_name(path): path for path in known}
    unknown = []
    for variable in sorted(name for name in environ if name.startswith(PREFIX) and name not in CLIENT_VARIABLES):
        if variable in names:
            path = names[variable]
            yield path, _split(environ[variable], known[path]), f"environment {variable}"
        elif variable.removesuffix("_FILE") in names:
            path = names[variable.removesuffix("_FILE")]
            yield path, _split(_read_secret(variable, environ[variable]), known[path]), f"file of {variable}"
        else:
            unknown.append(Problem(variable, "setting_unknown", "There is no such setting."))
    if unknown:
        raise Invalid("setting_unknown", f"Unknown setting {unknown[0].pointer}.", unknown)


def _split(text: str, annotation: Any) -> Any:
    if str(annotation).startswith("tuple"):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def _read_secret(variable: str, file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Invalid("setting_file_unreadable", f"{variable}: its file cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise Invalid("setting_file_unreadable", f"{variable}: its file is damaged, it is no text.") from None


def _read_file(file: Path, known: Mapping[_Path, Any], sources: dict[_Path, str]) -> dict[str, Any]:
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Invalid("config_unreadable", f"The configuration file cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise Invalid("config_unreadable", "The configuration file is damaged, it is no text.") from None
    except tomllib.TOMLDecodeError as error:
        raise Invalid("config_invalid", f"The configuration file is not TOML: {error}.") from None
    for path in _paths_of(tree):
        if path not in known:
            raise Invalid("setting_unknown", f"Unknown setting {'.'.join(path)} in the configuration file.")
        sources[path] = f"file {file.name}"
    return tree


def _paths_of(tree: Mapping[str, Any], above: _Path = ()) -> Iterator[_Path]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _paths_of(value, (*above, name))
        else:
            yield (*above, name)


def _put(tree: dict[str, Any], path: _Path, value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def _validated(tree: dict[str, Any], sources: Mapping[_Path, str]) -> Settings:
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        problems = [
            Problem(variable_name(tuple(map(str, e["loc"]))), "setting_invalid", e["msg"])
            for e in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        first = problems[0]
        raise Invalid("setting_invalid", f"Setting {first.pointer}: {first.detail}.", problems) from None


def _origin(settings: Settings, path: _Path, sources: Mapping[_Path, str]) -> Origin:
    value: Any = settings
    for name in path:
        value = getattr(value, name)
    shown = "********" if isinstance(value, SecretStr) else str(value)
    return Origin(variable_name(path), shown, sources.get(path, "default"))
