"""Models, versions, aliases and gate decisions on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

from tidemill.kit.metrics import ALL_METRICS
from tidemill.kit.names import Name
from tidemill.schemas.base import Reply, RequestBody, document_texts
from tidemill.schemas.page import PageQuery

ALIAS_PATTERN = r"^[a-z][a-z0-9_-]{0,62}$"
AliasName = Annotated[str, StringConstraints(pattern=ALIAS_PATTERN)]
VersionNumber = Annotated[int, Field(ge=1, le=999_999_999)]
Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1000),
    WithJsonSchema({"type": "string", "maxLength": 1000, "pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]*$"}),
]


class HistoryQuery(PageQuery):
    alias: AliasName | None = None
    """Only moves of this alias."""


class DecisionQuery(PageQuery):
    version: VersionNumber | None = None
    """Only decisions about this version."""


class GatePolicy(RequestBody):
    """What a version must show before it becomes champion."""

    metric: (
        Annotated[str, Field(max_length=64), WithJsonSchema({"type": "string", "enum": list(ALL_METRICS)})] | None
    ) = None
    """Metric that is compared; by default the one that training optimised, else the usual one of the task."""
    confidence: Annotated[float, Field(ge=0.5, le=0.999)] = 0.95
    """Of the interval of the paired difference."""
    resamples: Annotated[int, Field(ge=1000, le=100_000)] = 2000
    """Bootstrap resamples."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    max_rows: Annotated[int, Field(ge=100, le=10_000_000)] = 100_000
    """Larger holdouts are compared on a random sample of this many rows."""
    baseline_margin: Annotated[float, Field(ge=0)] = 0.0
    """How much worse than the naive baseline a version may be, in the metric's own unit; 0 asks for better."""
    champion_margin: Annotated[float, Field(ge=0)] = 0.0
    """How much worse than the present champion a version may be (non-inferiority margin); 0 asks for better."""
    unscorable_champion: Literal["stay", "promote"] = "stay"
    """What happens when the champion cannot be scored on the challenger's holdout."""
    ignored_checks: list[Annotated[str, Field(max_length=64)]] = Field(default_factory=list, max_length=32)
    """Codes of checks that may fail, such as ``leakage``."""


class Policy(Reply):
    """A model's gate policy. The answer's ``ETag`` is the revision."""

    policy: GatePolicy
    revision: int


class ModelVersion(Reply):
    """One version of a model."""

    id: str
    model_name: str
    number: int
    aliases: list[str] = Field(default_factory=list)
    source: str
    """``training`` or ``import``."""
    mlflow_run_id: str | None
    mlflow_model_uri: str | None
    dataset_version_id: str | None
    job_id: str | None
    flavor: str
    """``tidemill`` for models trained here, ``pyfunc`` for any other MLflow model."""
    task: str | None
    target: str | None
    classes: list[Any] | None
    signature: dict[str, Any]
    """MLflow's signature: ``{"inputs": [{"name", "type", "required"}], "outputs": [...], "params": [...]}``."""
    metric: str | None
    metrics: dict[str, Any]
    """Holdout metrics with their intervals: ``{name: {"value", "low", "high"}}``."""
    warnings: list[Any]
    bundle_sha256: str
    bundle_size_bytes: int
    holdout_key: str | None
    code_allowed_by: str | None
    """Who allowed that loading this model runs code of its maker."""
    created_at: datetime
    created_by: str
    deleted_at: datetime | None
    deleted_by: str | None


class ModelSummary(Reply):
    name: str
    latest_version: int
    aliases: dict[str, int]
    """Alias to version number."""
    champion: ModelVersion | None
    created_at: datetime
    created_by: str


class AliasEvent(Reply):
    """One move of an alias."""

    id: str
    alias: str
    from_number: int | None
    to_number: int | None
    """Absent when the alias was removed."""
    kind: str
    """``registered``, ``gate``, ``promoted``, ``forced``, ``rollback``, ``set`` or ``removed``."""
    moved_at: datetime
    who: str
    """Id of the key that moved it."""
    who_name: str | None = None
    """Name of that key; absent when it was not a key."""
    why: str
    decision_id: str | None
    request_id: str | None


class AliasState(Reply):
    """Where the aliases pointed at one moment."""

    model_name: str
    at: datetime
    aliases: list[AliasEvent]
    """For each alias that existed then, the move that had put it there."""


class Check(Reply):
    """One thing that must not be wrong with a version."""

    code: str
    passed: bool | None
    """None when it could not be looked at."""
    detail: str


class Comparison(Reply):
    """The challenger against one opponent on the same holdout rows."""

    against: Literal["baseline", "champion"]
    number: int | None = None
    """Version of the opponent; absent for the baseline."""
    scored: bool
    reason: str | None = None
    """Why the opponent could not be scored."""
    metric: str | None = None
    row_count: int | None = None
    value: float | None = None
    """Of the challenger."""
    other_value: float | None = None
    difference: float | None = None
    """Challenger minus opponent, signed so that positive is better."""
    low: float | None = None
    high: float | None = None
    """Ends of the paired bootstrap interval of ``difference``."""
    rows_seen_by_other: int | None = None
    """How many of the compared rows the opponent was trained on; absent when that is unknown."""
    rows_left_out: int = 0
    """Rows of the holdout that were not compared, since the opponent was trained on them."""


class GateDecision(Reply):
    id: str
    number: int
    champion_number: int | None
    passed: bool
    metric: str | None
    policy: GatePolicy
    policy_revision: int
    checks: list[Check]
    comparisons: list[Comparison]
    reasons: list[str]
    job_id: str
    decided_at: datetime
    decided_for: str


def _document_promote(schema: dict[str, Any]) -> None:
    document_texts(schema)
    reason = {"properties": {"reason": {"type": "string"}}, "required": ["reason"]}
    schema["anyOf"] = [{"properties": {"force": {"const": False}}}, reason]


class Promote(RequestBody):
    model_config = ConfigDict(json_schema_extra=_document_promote)

    version: VersionNumber
    force: bool = False
    """Do not ask the gate. Needs ``reason`` and is recorded as forced."""
    reason: Reason | None = None

    @model_validator(mode="after")
    def _force_needs_reason(self) -> "Promote":
        if self.force and self.reason is None:
            raise ValueError("force needs a reason")
        return self


class Promotion(Reply):
    """Answer to a promotion: done (``event``), or under way in a job that asks the gate."""

    status: Literal["promoted", "deciding"]
    event: AliasEvent | None = None
    job_id: str | None = None


class Rollback(RequestBody):
    reason: Reason | None = None


class AliasSet(RequestBody):
    version: VersionNumber
    reason: Reason | None = None


class Compare(RequestBody):
    """Compare two versions of a model, or of two models when ``other_model`` is given."""

    version: VersionNumber
    other: VersionNumber
    other_model: Name | None = None
    resamples: Annotated[int, Field(ge=1000, le=100_000)] = 2000
    confidence: Annotated[float, Field(ge=0.5, le=0.999)] = 0.95
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0


class MetricDifference(Reply):
    """One metric of two versions on the same rows. ``difference`` is signed so that positive favours the first."""

    metric: str
    value: float
    other_value: float
    difference: float
    low: float
    high: float


class VersionComparison(Reply):
    """Result of a comparison job."""

    first: ModelVersion
    second: ModelVersion
    scored: bool
    reason: str | None = None
    """Why there is no paired comparison."""
    holdout_of: int | None = None
    """Version whose holdout rows both were scored on."""
    row_count: int | None = None
    confidence: float
    differences: list[MetricDifference] = Field(default_factory=list)


class ImportEvaluation(RequestBody):
    """Labelled rows that give an imported model its metrics and a holdout for the gate."""

    dataset: Name
    dataset_version: VersionNumber | None = None
    """The newest, when absent."""
    target: Annotated[str, Field(min_length=1, max_length=512)]
    task: Literal["binary", "multiclass", "regression"] | None = None
    """Inferred from the model and the target when absent."""


def _document_source(schema: dict[str, Any]) -> None:
    document_texts(schema)
    sources, absent = ("run_id", "mlflow_model", "model_uri"), {"type": "null"}
    schema["oneOf"] = []
    for source in sources:
        others = {name: absent for name in sources if name != source}
        others |= {} if source == "run_id" else {"artifact_path": absent}
        schema["oneOf"].append({"properties": {source: {"type": "string"}} | others, "required": [source]})


class ImportModel(RequestBody):
    """Name exactly one of ``run_id``, ``mlflow_model`` and ``model_uri``."""

    model_config = ConfigDict(json_schema_extra=_document_source)

    run_id: Annotated[str | None, Field(pattern=r"^[0-9a-f]{32}$")] = None
    """MLflow run that logged exactly one model."""
    artifact_path: Annotated[str | None, Field(max_length=512)] = None
    """With ``run_id``: which of the run's models, by its name."""
    mlflow_model: Annotated[str | None, Field(pattern=r"^[^/:@]{1,250}(/[1-9][0-9]{0,8}|@[^/:@]{1,250})$")] = None
    """``NAME/VERSION`` or ``NAME@ALIAS`` of MLflow's registry."""
    model_uri: Annotated[str | None, Field(pattern=r"^models:/m-[0-9a-z]{1,64}$")] = None
    """A logged model, ``models:/m-...``."""
    allow_pickle: bool = False
    """Accept a format that runs its maker's code when it is loaded. Stored with the version and your key."""
    evaluation: ImportEvaluation | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "ImportModel":
        if sum(value is not None for value in (self.run_id, self.mlflow_model, self.model_uri)) != 1:
            raise ValueError("name exactly one of run_id, mlflow_model and model_uri")
        if self.artifact_path is not None and self.run_id is None:
            raise ValueError("artifact_path needs run_id")
        return self


class JobStarted(Reply):
    """Work that goes on in a job."""

    job_id: str
