"""`tidemill prediction ...`"""

import itertools
import json
from typing import Annotated

import typer

from tidemill.cli.context import client, make_table, show
from tidemill.cli.moments import parse_moment
from tidemill.kit.clock import utc_now
from tidemill.schemas.predictions import Prediction

app = typer.Typer(no_args_is_help=True, help="The ledger of predictions.")


@app.command(name="list")
def list_predictions(
    deployment: Annotated[str, typer.Argument(help="Name of the deployment.")],
    since: Annotated[str | None, typer.Option(help="First moment; by default a day ago.")] = None,
    until: Annotated[str | None, typer.Option(help="Moment after the last; by default now.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most predictions to show.")] = 50,
) -> None:
    """List predictions, newest first."""
    start, end = (parse_moment(text, utc_now()) if text else None for text in (since, until))
    with client() as tidemill:
        found = list(itertools.islice(tidemill.predictions.list(deployment, start, end), limit))
    rows = [(p.prediction_id, p.predicted_at, f"{p.model_name}:{p.model_version}", _output(p)) for p in found]
    show(found, lambda: make_table(None, "prediction", "at", "model", "output", rows=rows))


@app.command(name="show")
def show_prediction(prediction_id: Annotated[str, typer.Argument(help="Id of the prediction, prd_...")]) -> None:
    """Show a prediction with its inputs."""
    with client() as tidemill:
        found = tidemill.predictions.get(prediction_id)
    rows = [*found.model_dump(exclude={"inputs", "output"}).items(), ("output", _output(found))]
    inputs = list(found.inputs.items())
    show(found, lambda: [make_table(None, "", "", rows=rows), make_table("Inputs", "column", "value", rows=inputs)])


def _output(prediction: Prediction) -> str:
    return json.dumps(prediction.output, ensure_ascii=False)
