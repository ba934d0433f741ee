"""The `tidemill` command."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.markup import escape

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
from tidemill.cli.context import Output, show, state, stderr
from tidemill.kit.errors import TidemillError, Unavailable
from tidemill.kit.exit_codes import FAILURE, INTERRUPTED, exit_code_of

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

_MAX_PROBLEMS_SHOWN = 100


@app.callback()
def options(
    output: Annotated[Output, typer.Option("--output", "-o", help="How results are printed.")] = Output.TABLE,
    data_dir: Annotated[
        Path, typer.Option(envvar="TIDEMILL_DATA_DIR", help="Folder of a platform started by `tidemill up`.")
    ] = Path("tidemill-data"),
) -> None:
    """Options before the command hold for every command."""
    state.output = output
    state.data_dir = data_dir


@app.command()
def version() -> None:
    """Print the version."""
    show({"version": __version__}, lambda: [__version__])


def main() -> None:
    """Exit 0 ok, 1 failure, 2 usage, 3 refused by a gate, 4 not found, 5 conflict, 124 timeout, 130 interrupted."""
    try:
        app(standalone_mode=True)
    except TidemillError as error:
        report(error)
        sys.exit(exit_code_of(error))
    except ValidationError:
        report(Unavailable("answer_unexpected", "The server's answer is not one that this version understands."))
        sys.exit(FAILURE)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(0)


def report(error: TidemillError) -> None:
    """Say on stderr what went wrong and where."""
    console = stderr()
    console.print(f"[bold red]{error.title}:[/] {escape(error.detail)} [dim]({error.code})[/]", soft_wrap=True)
    for problem in error.problems[:_MAX_PROBLEMS_SHOWN]:
        console.print(f"  {problem.pointer}: {problem.detail}", soft_wrap=True, markup=False)
    if len(error.problems) > _MAX_PROBLEMS_SHOWN:
        console.print(f"  and {len(error.problems) - _MAX_PROBLEMS_SHOWN} more")
    for note in getattr(error, "__notes__", []):
        console.print(f"  [dim]{escape(note)}[/]")


if __name__ == "__main__":
    main()
