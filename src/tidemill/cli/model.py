"""`tidemill model ...`"""

from itertools import islice
from typing import Annotated, Any

import typer

from tidemill.cli import model_tables as tables
from tidemill.cli.context import client, show, validated
from tidemill.cli.moments import parse_moment
from tidemill.cli.progress import follow_to_result
from tidemill.client import Tidemill
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Invalid, NotFound
from tidemill.kit.names import split_model_reference
from tidemill.schemas.registry import GatePolicy, ImportEvaluation, ImportModel, VersionComparison

app = typer.Typer(no_args_is_help=True, help="Registered models: versions, promotion, history.")
alias_app = typer.Typer(no_args_is_help=True, help="Names that point to versions.")
app.add_typer(alias_app, name="alias")

Name = Annotated[str, typer.Argument(help="Name of the model.")]
Version = Annotated[int, typer.Option("--version", help="Number of the version.", min=1)]
Why = Annotated[str | None, typer.Option(help="Kept in the history.")]
_MOST_SHOWN = 200


@app.command(name="list")
def list_models() -> None:
    """Models with their champions."""
    with client() as tidemill:
        models = list(tidemill.models.list())
    show(models, lambda: tables.models_table(models))


@app.command(name="show")
def show_model(
    reference: Annotated[str, typer.Argument(help="NAME for all versions, NAME:3 or NAME@champion for one.")],
) -> None:
    """A model and its versions, or one version with metrics, inputs and the gate's decision."""
    parts = split_model_reference(reference)
    if parts is None:
        raise Invalid("model_reference_invalid", "A model is named like name, name:3 or name@alias.")
    name, alias, number = parts
    with client() as tidemill:
        if alias is None and number is None:
            model, versions = tidemill.models.get(name), list(islice(tidemill.models.versions(name), _MOST_SHOWN))
            both = {"model": model.model_dump(mode="json"), "versions": [v.model_dump(mode="json") for v in versions]}
            show(both, lambda: tables.model_parts(model, versions))
            return
        version = tidemill.models.version(name, number or _number_of(tidemill, name, str(alias)))
        decision = next(tidemill.models.decisions(name, version.number), None)
    plain: dict[str, Any] = {"version": version.model_dump(mode="json"), "decision": None}
    if decision is not None:
        plain["decision"] = decision.model_dump(mode="json")
    show(plain, lambda: tables.version_parts(version, decision))


@app.command()
def promote(
    name: Name,
    version: Version,
    force: Annotated[bool, typer.Option(help="Do not ask the gate; needs --reason.")] = False,
    reason: Why = None,
    wait: Annotated[bool, typer.Option(help="Wait for the gate's decision.")] = True,
) -> None:
    """Make a version champion, if the gate agrees. Exit code 3 and its reasons when it does not."""
    if force and not reason:
        raise typer.BadParameter("--force needs --reason", param_hint="--reason")
    with client() as tidemill:
        asked = tidemill.models.request_promotion(name, version, force=force, reason=reason)
        event = asked.event
        if event is None and not wait:
            show(asked, lambda: [str(asked.job_id)])
            return
        if event is None:
            follow_to_result(tidemill, str(asked.job_id), f"Gate of {name}")
            event = tidemill.models.last_move(name)
    show(event, lambda: [tables.move_text(event)])


@app.command()
def rollback(name: Name, reason: Why = None) -> None:
    """Make the champion before the present one champion again; repeat it to go further back."""
    with client() as tidemill:
        event = tidemill.models.rollback(name, reason)
    show(event, lambda: [tables.move_text(event)])


@app.command()
def history(
    name: Name,
    at: Annotated[str | None, typer.Option(help="What served at this moment: 2h ago, a day or a time.")] = None,
    alias: Annotated[str | None, typer.Option(help="Only moves of this alias.")] = None,
    limit: Annotated[int, typer.Option(help="Most moves shown.", min=1)] = 50,
) -> None:
    """Every move of an alias, newest first; with --at, where the aliases pointed then."""
    with client() as tidemill:
        if at is not None:
            state = tidemill.models.aliases(name, parse_moment(at, utc_now()))
            show(state, lambda: tables.state_table(state))
            return
        events = list(islice(tidemill.models.history(name, alias), limit))
    show(events, lambda: tables.history_table(events))


@app.command()
def compare(
    name: Name,
    first: Annotated[int, typer.Argument(help="A version.", min=1)],
    second: Annotated[int, typer.Argument(help="Another version.", min=1)],
    other_model: Annotated[str | None, typer.Option(help="Model of the second version, if another.")] = None,
) -> None:
    """Two versions side by side, and their difference on the same holdout rows."""
    with client() as tidemill:
        started = tidemill.models.request_comparison(name, first, second, other_model)
        job = follow_to_result(tidemill, started.job_id, f"Comparing {name}")
    found = VersionComparison.model_validate(job.result)
    show(found, lambda: tables.comparison_parts(found))


@app.command()
def register(
    name: Name,
    *,
    run_id: Annotated[str | None, typer.Option(help="MLflow run that logged the model.")] = None,
    artifact_path: Annotated[str | None, typer.Option(help="Which model of the run, if several.")] = None,
    mlflow_model: Annotated[str | None, typer.Option(help="NAME/VERSION or NAME@ALIAS in MLflow's registry.")] = None,
    model_uri: Annotated[str | None, typer.Option(help="models:/m-...")] = None,
    allow_pickle: Annotated[bool, typer.Option(help="Accept a format that runs its maker's code.")] = False,
    dataset: Annotated[str | None, typer.Option(help="Dataset to measure it on: NAME or NAME:3.")] = None,
    target: Annotated[str | None, typer.Option(help="Column with the truth; needs --dataset.")] = None,
    task: Annotated[str | None, typer.Option(help="binary, multiclass or regression.")] = None,
) -> None:
    """Register a model that somebody logged to MLflow, of any flavour, as the next version."""
    if (dataset is None) != (target is None):
        raise typer.BadParameter("--dataset and --target belong together", param_hint="--dataset")
    evaluation = None if dataset is None else _evaluation(dataset, target, task)
    request = _import_request(
        run_id=run_id, artifact_path=artifact_path, mlflow_model=mlflow_model, model_uri=model_uri,
        allow_pickle=allow_pickle, evaluation=evaluation,
    )  # fmt: skip
    with client() as tidemill:
        started = tidemill.models.request_registration(name, request)
        job = follow_to_result(tidemill, started.job_id, f"Registering {name}")
        version = tidemill.models.version(name, int((job.result or {})["number"]))
    show(version, lambda: [f"Registered {name}:{version.number}. See: tidemill model show {name}:{version.number}"])


@app.command()
def policy(
    name: Name,
    *,
    metric: Annotated[str | None, typer.Option(help="Metric the gate compares.")] = None,
    champion_margin: Annotated[float | None, typer.Option(help="Non-inferiority margin to the champion.")] = None,
    baseline_margin: Annotated[float | None, typer.Option(help="The same to the naive baseline.")] = None,
    confidence: Annotated[float | None, typer.Option(help="Of the intervals, such as 0.95.")] = None,
    resamples: Annotated[int | None, typer.Option(help="Bootstrap resamples.")] = None,
    unscorable_champion: Annotated[str | None, typer.Option(help="stay or promote.")] = None,
    ignore_check: Annotated[list[str] | None, typer.Option(help="Check that may fail; may be repeated.")] = None,
) -> None:
    """Show the gate's policy; with options, change it."""
    given = {
        "metric": metric, "champion_margin": champion_margin, "baseline_margin": baseline_margin,
        "confidence": confidence, "resamples": resamples, "unscorable_champion": unscorable_champion,
        "ignored_checks": ignore_check,
    }  # fmt: skip
    changes = {key: value for key, value in given.items() if value is not None}
    with client() as tidemill:
        found = tidemill.models.policy(name)
        if changes:
            wanted = validated(GatePolicy, found.policy.model_dump() | changes)
            found = tidemill.models.set_policy(name, wanted, found.revision)
    show(found, lambda: tables.policy_table(found))


@app.command()
def decisions(name: Name, limit: Annotated[int, typer.Option(help="Most decisions shown.", min=1)] = 10) -> None:
    """What the gate decided, newest first, with its numbers and reasons."""
    with client() as tidemill:
        found = list(islice(tidemill.models.decisions(name), limit))
    show(found, lambda: [part for decision in found for part in (*tables.decision_parts(decision), "")])


@app.command()
def delete(
    name: Name, version: Version, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Delete a version. Refused while an alias or a deployment points to it."""
    if not yes:
        typer.confirm(f"Delete {name}:{version}?", abort=True, err=True)
    with client() as tidemill:
        gone = tidemill.models.delete_version(name, version)
    show(gone, lambda: [f"Deleted {name}:{version}."])


@alias_app.command(name="set")
def set_alias(
    name: Name, alias: Annotated[str, typer.Argument(help="Any alias but champion.")], version: Version,
    reason: Why = None,
) -> None:  # fmt: skip
    """Point an alias at a version."""
    with client() as tidemill:
        event = tidemill.models.set_alias(name, alias, version, reason)
    show(event, lambda: [tables.move_text(event)])


@alias_app.command(name="delete")
def delete_alias(name: Name, alias: Annotated[str, typer.Argument(help="Any alias but champion.")]) -> None:
    """Remove an alias."""
    with client() as tidemill:
        event = tidemill.models.delete_alias(name, alias)
    show(event, lambda: [tables.move_text(event)])


def _number_of(tidemill: Tidemill, name: str, alias: str) -> int:
    number = tidemill.models.get(name).aliases.get(alias)
    if number is None:
        raise NotFound("alias_not_found", f"The model has no alias {alias}.")
    return number


def _evaluation(dataset: str, target: str | None, task: str | None) -> ImportEvaluation:
    name, _, number = dataset.partition(":")
    content = {"dataset": name, "dataset_version": number or None, "target": target, "task": task}
    return validated(ImportEvaluation, content)


def _import_request(**content: Any) -> ImportModel:
    if sum(content[key] is not None for key in ("run_id", "mlflow_model", "model_uri")) != 1:
        raise typer.BadParameter("name exactly one of --run-id, --mlflow-model and --model-uri")
    return validated(ImportModel, content)
