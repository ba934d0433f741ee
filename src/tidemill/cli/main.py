"""The `tidemill` command."""

import contextlib
import copy
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn, TextIO

import typer
from pydantic import BaseModel, ValidationError

from tidemill import __version__
from tidemill.cli import (
    config,
    dataset,
    deploy,
    doctor,
    feedback,
    job,
    key,
    model,
    monitor,
    predict,
    prediction,
    processes,
    train,
)
from tidemill.cli.context import Output, report, show, state
from tidemill.kit.errors import Invalid, Problem, TidemillError, Unavailable
from tidemill.kit.exit_codes import INTERRUPTED, exit_code_of
from tidemill.schemas.base import Schema

app = typer.Typer(
    name="tidemill",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The self-hosted closed loop for machine learning on tables.",
)
app.add_typer(processes.app)
app.add_typer(dataset.app, name="dataset")
app.add_typer(train.app, name="train")
app.add_typer(model.app, name="model")
app.add_typer(deploy.app, name="deploy")
app.add_typer(predict.app)
app.add_typer(prediction.app, name="prediction")
app.add_typer(job.app, name="job")
app.add_typer(key.app, name="key")
app.add_typer(feedback.app, name="feedback")
app.add_typer(monitor.app, name="monitor")
app.add_typer(config.app, name="config")
app.add_typer(doctor.app)
_SHARED = ("output", "data_dir")


@app.callback()
def options(
    output: Annotated[Output, typer.Option("--output", "-o", help="How results are printed.")] = Output.TABLE,
    data_dir: Annotated[
        Path, typer.Option(envvar="TIDEMILL_DATA_DIR", help="Folder of a platform started by `tidemill up`.")
    ] = Path("tidemill-data"),
) -> None:
    """These options hold for every command, before it or after it."""
    state.output = output
    state.data_dir = data_dir


@app.command()
def version() -> None:
    """Print the version."""
    show({"version": __version__}, lambda: [__version__])


def command_line() -> Any:
    """All commands, each of which takes the options of the whole command line too."""
    root = typer.main.get_command(app)
    _share(root, [_repeated(option) for option in root.params if option.name in _SHARED])
    return root


def _share(group: Any, options: Sequence[Any]) -> None:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            _share(command, options)
        elif name not in processes.NAMES:
            command.params.extend(options)


def _repeated(option: Any) -> Any:
    """The same option after the command, where it counts only if it is given."""
    repeated = copy.copy(option)
    repeated.default, repeated.envvar, repeated.show_default = None, None, False
    repeated.expose_value, repeated.callback = False, _remember
    return repeated


def _remember(_context: object, option: Any, value: object) -> None:
    if value is not None:
        setattr(state, option.name, value)


def _of_validation(error: ValidationError) -> TidemillError:
    """An option beyond its limit if a request could not be made, else an answer that we do not know."""
    if error.title not in _names_of_requests(Schema):
        return Unavailable("answer_unexpected", "The server's answer is not one that this version understands.")
    problems = [
        Problem("--" + ".".join(map(str, item["loc"])).replace("_", "-"), item["type"], item["msg"])
        for item in error.errors(include_url=False, include_input=False)
    ]
    return Invalid("option_invalid", "An option is not usable.", problems)


def _of_file(error: OSError) -> TidemillError:
    told = Unavailable("file_unusable", f"A file or the output cannot be used: {error.strerror or 'unknown error'}.")
    for note in getattr(error, "__notes__", []):
        told.add_note(note)
    return told


def _names_of_requests(kind: type[BaseModel]) -> set[str]:
    return {kind.__name__}.union(*map(_names_of_requests, kind.__subclasses__()))


def main() -> None:
    """Exit 0 ok, 1 failure, 2 usage, 3 refused by a gate, 4 not found, 5 conflict, 124 timeout, 130 interrupted."""
    try:
        command_line()()
    except TidemillError as error:
        _end(error)
    except ValidationError as error:
        _end(_of_validation(error))
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        _forget(sys.stdout)
        sys.exit(0)
    except OSError as error:
        _forget(sys.stdout)
        _end(_of_file(error))


def _end(error: TidemillError) -> NoReturn:
    """Say it, if anybody can be told, and exit with its code."""
    try:
        report(error)
    except OSError:
        _forget(sys.stderr)
    sys.exit(exit_code_of(error))


def _forget(stream: TextIO | None) -> None:
    """What still waits to be written goes nowhere: Python would fail on it when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
        os.close(nowhere)


if __name__ == "__main__":
    main()
