"""Writes the reference pages from the code: `python docs/generate.py`; with ``--check`` it only compares.

settings.md comes from the settings tree, cli.md from the command line, metrics.md from the places that create metrics.
"""

import ast
import enum
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import annotated_types
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import tidemill.admin.main
import tidemill.demo.main
import tidemill.platform.main
from tidemill.cli.main import app
from tidemill.settings.model import Settings
from tidemill.settings.names import variable_name
from tidemill.settings.sources import CLIENT_VARIABLES

DOCS = Path(__file__).parent
SOURCES = DOCS.parent / "src" / "tidemill"
_GENERATED = "<!-- Written by docs/generate.py; change the code, then run it. -->\n"
_CLIENT_VARIABLES = {
    "TIDEMILL_API_KEY": "API key of the command line and the SDK.",
    "TIDEMILL_CONFIG": "TOML file with settings; the environment goes before it.",
    "TIDEMILL_MODEL_SERVER_URL": "Address of the model server, for the command line and the SDK.",
    "TIDEMILL_URL": "Address of the api, for the command line and the SDK.",
}


def pages() -> dict[str, str]:
    """File name to content of each generated page."""
    return {"settings.md": settings_page(), "cli.md": cli_page(), "metrics.md": metrics_page()}


# settings


def settings_page() -> str:
    assert set(_CLIENT_VARIABLES) == CLIENT_VARIABLES, "a variable of the client is not documented"
    intro = (
        "# Settings\n\n"
        + _GENERATED
        + "\nEvery process reads the same tree once, when it starts: environment over file\n"
        "(`TIDEMILL_CONFIG`, TOML) over default. `TIDEMILL_..._FILE` names a file that holds the value, for secrets.\n"
        "An unknown name is an error. `tidemill config show` prints every value with where it comes from.\n"
        "`AWS_*` and `OTEL_*` keep their own names.\n"
    )
    parts = [intro]
    for title, rows in _sections(Settings, ()):
        parts.append(f"\n## {title}\n\n| variable | default | meaning |\n| --- | --- | --- |\n" + "".join(rows))
    client = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in sorted(_CLIENT_VARIABLES.items()))
    return "".join(parts) + "\n## Command line and SDK\n\n| variable | meaning |\n| --- | --- |\n" + client


def _sections(section: type[BaseModel], above: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    rows, below = [], []
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            below.append((field.annotation, (*above, name)))
        else:
            rows.append(_setting_row((*above, name), field))
    yield (".".join(above) or "All processes"), rows
    for part, path in below:
        yield from _sections(part, path)


def _setting_row(path: tuple[str, ...], field: FieldInfo) -> str:
    if not field.description:
        sys.exit(f"The setting {'.'.join(path)} has no docstring.")
    return f"| `{variable_name(path)}` | {_default(field)} | {_cell(field.description)}{_kind(field)} |\n"


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None:
        return "-"
    if value == ():
        return "(empty)"
    return f"`{value.get_secret_value() if hasattr(value, 'get_secret_value') else value}`"


def _kind(field: FieldInfo) -> str:
    """What the value must be, beyond its unit, which is in the name."""
    if typing.get_origin(field.annotation) is typing.Literal:
        return f" One of {', '.join(f'`{choice}`' for choice in typing.get_args(field.annotation))}."
    limits = [f"at least {limit.ge}" for limit in field.metadata if isinstance(limit, annotated_types.Ge)]
    limits += [f"at most {limit.le}" for limit in field.metadata if isinstance(limit, annotated_types.Le)]
    limits += [f"above {limit.gt}" for limit in field.metadata if isinstance(limit, annotated_types.Gt)]
    return f" ({', '.join(limits)})" if limits else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


# command line

_PASSED_ON = {
    ("tidemill", "admin"): tidemill.admin.main.app,
    ("tidemill", "demo"): tidemill.demo.main.app,
    ("tidemill", "up"): tidemill.platform.main.app,
}
"""Commands that are handed to another process with all they were given."""


def cli_page() -> str:
    root = typer.main.get_command(app)
    intro = (
        "# Command line\n\n" + _GENERATED + "\nData goes to stdout, talk and progress to stderr. Exit codes: 0 ok, 1 "
        "failure, 2 usage, 3 refused by a gate, 4 not found,\n5 conflict, 124 timeout, 130 interrupted.\n\n"
        "These options hold for every command, before it or after it (only after it for `up`, `demo` and `admin`):\n\n"
        + _parameters(root)
    )
    return intro + "".join(_command_part(path, command) for path, command in _commands(root, ("tidemill",)))


def commands() -> set[tuple[str, ...]]:
    """Every command by its words, such as ``("tidemill", "dataset", "push")``."""
    return {path for path, _ in _commands(typer.main.get_command(app), ("tidemill",))}


def _commands(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, listed in sorted(group.commands.items()):
        if listed.hidden:
            continue
        passed_on = _PASSED_ON.get((*path, name))
        command = typer.main.get_command(passed_on) if passed_on else listed
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


def _command_part(path: tuple[str, ...], command: Any) -> str:
    if not command.help:
        sys.exit(f"The command {' '.join(path)} has no docstring.")
    arguments = [_argument(parameter) for parameter in command.params if parameter.param_type_name == "argument"]
    usage = " ".join([*path, *arguments])
    has_options = any(parameter.param_type_name == "option" for parameter in command.params)
    parts = [
        f"\n## {' '.join(path)}",
        command.help.strip(),
        f"```\n{usage}{' [options]' if has_options else ''}\n```",
        _parameters(command),
    ]
    return "\n\n".join(part for part in parts if part).rstrip("\n") + "\n"


def _argument(parameter: Any) -> str:
    name = parameter.name.upper() + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _parameters(command: Any) -> str:
    rows = [_parameter_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
    return "| argument or option | default | meaning |\n| --- | --- | --- |\n" + "".join(rows) if rows else ""


def _parameter_row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = f"`{parameter.name.upper()}`"
    else:
        name = ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))
    return f"| {name} | {_parameter_default(parameter)} | {_cell(parameter.help or '')}{_choices(parameter)} |\n"


def _parameter_default(parameter: Any) -> str:
    default = parameter.default
    if parameter.required:
        return "required"
    if default is None or callable(default) or default in ((), [], "") or isinstance(default, types.EllipsisType):
        return "-"
    if isinstance(default, bool):
        return ("yes" if default else "no") if parameter.secondary_opts or default else "-"
    return f"`{default.value if isinstance(default, enum.Enum) else default}`"


def _choices(parameter: Any) -> str:
    annotation = parameter.type_descriptor.annotation
    is_enum = isinstance(annotation, type) and issubclass(annotation, enum.Enum)
    names = [str(choice.value) for choice in annotation] if is_enum else []
    return f" One of {', '.join(f'`{name}`' for name in names)}." if names else ""


# metrics


@dataclass(frozen=True)
class Metric:
    name: str
    kind: str
    labels: str
    meaning: str


_METRIC_CLASSES = {
    "Counter": "counter",
    "Gauge": "gauge",
    "Histogram": "histogram",
    "Summary": "summary",
    "CounterMetricFamily": "counter",
    "GaugeMetricFamily": "gauge",
    "HistogramMetricFamily": "histogram",
    "watch": "gauge",
}


def metrics_page() -> str:
    rows = "".join(
        f"| `{found.name}` | {found.kind} | {found.labels} | {_cell(found.meaning)} |\n"
        for found in sorted(metrics(), key=lambda found: found.name)
    )
    return (
        "# Metrics\n\n"
        + _GENERATED
        + "\nEvery process answers `/metrics` for Prometheus, without a key. Labels come from "
        "bounded sets only: never ids, names of\nusers or values. Beside these there are the usual figures of a Python "
        "process (`process_*`, `python_*`).\n\n| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n" + rows
    )


def metrics() -> list[Metric]:
    """Every metric whose creation is written in the sources with a literal name."""
    return [
        metric for file in sorted(SOURCES.rglob("*.py")) for metric in _metrics_of(ast.parse(file.read_text("utf-8")))
    ]


def _metrics_of(module: ast.Module) -> Iterator[Metric]:
    constants = {
        target.id: _literal(node.value, {})
        for node in module.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and (metric := _metric_of(node, constants)) is not None:
            yield metric


def _metric_of(call: ast.Call, constants: Mapping[str, object]) -> Metric | None:
    kind = _METRIC_CLASSES.get(call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", ""))
    literals = [_literal(argument, constants) for argument in call.args]
    if kind is None or not literals or not isinstance(literals[0], str) or not literals[0].startswith("tidemill_"):
        return None
    named = {keyword.arg: _literal(keyword.value, constants) for keyword in call.keywords}
    meaning = literals[1] if len(literals) > 1 else named.get("documentation", "")
    labels = literals[2] if len(literals) > 2 else named.get("labelnames", named.get("labels"))
    shown = ", ".join(f"`{label}`" for label in labels) if isinstance(labels, (tuple, list)) else "-"
    return Metric(literals[0], kind, shown or "-", str(meaning))


def _literal(node: ast.expr, constants: Mapping[str, object]) -> object:
    """The value of a literal, of a constant of its module, or of a tuple of these (``*LABELS`` included)."""
    if isinstance(node, ast.Name):
        return constants.get(node.id)
    if isinstance(node, ast.Tuple):
        return tuple(value for element in node.elts for value in _elements(element, constants))
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _elements(node: ast.expr, constants: Mapping[str, object]) -> tuple[object, ...]:
    if isinstance(node, ast.Starred):
        inner = _literal(node.value, constants)
        return inner if isinstance(inner, tuple) else ()
    return (_literal(node, constants),)


def main(arguments: list[str]) -> int:
    stale = {
        name: text
        for name, text in pages().items()
        if not (DOCS / name).is_file() or (DOCS / name).read_text(encoding="utf-8") != text
    }
    if "--check" in arguments:
        sys.stderr.writelines(f"docs/{name} is out of date: run make docs\n" for name in stale)
        return 1 if stale else 0
    for name, text in stale.items():
        (DOCS / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
