"""What the children that load models say. They may have run code of a model's maker, which may have said it instead."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tidemill.schemas.registry import Check, Comparison, MetricDifference

_Text = Annotated[str, Field(max_length=2000)]
_Number = Annotated[float, Field(allow_inf_nan=False)]


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Interval(_Said):
    value: _Number
    low: _Number
    high: _Number


class _Warning(_Said):
    code: Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,63}$")]
    severity: Literal["info", "warning", "error"]
    detail: _Text


class _Bundle(_Said):
    path: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    size_bytes: int


class _Column(_Said):
    name: Annotated[str, Field(min_length=1)]
    type: _Text
    required: bool


class _Param(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    name: Annotated[str, Field(min_length=1)]
    type: _Text


class _Signature(_Said):
    inputs: Annotated[list[_Column], Field(min_length=1)]
    outputs: list[Any]
    params: list[_Param]

    @field_validator("inputs", "params")
    @classmethod
    def _each_name_once(cls, named: list[Any]) -> list[Any]:
        if len({each.name for each in named}) < len(named):
            raise ValueError("a name stands twice")
        return named


class Adoption(_Said):
    """What the child of an import gives: claims about the model itself. Its files are looked at again."""

    signature: _Signature
    warnings: Annotated[list[_Warning], Field(max_length=100)]
    runs_code: bool
    bundle: _Bundle
    task: Literal["binary", "multiclass", "regression"] | None
    target: str | None
    classes: list[str | bool | int | float] | None
    metrics: Annotated[dict[str, _Interval], Field(max_length=100)]
    metric: str | None = None
    holdout: str | None = None


class Weighed(_Said):
    """What the gate's child gives."""

    metric: str | None
    checks: Annotated[list[Check], Field(max_length=100)]
    comparisons: Annotated[list[Comparison], Field(max_length=100)]


class Scored(_Said):
    """What the child of a comparison gives."""

    scored: bool
    reason: str | None = None
    row_count: int | None = None
    differences: Annotated[list[MetricDifference], Field(max_length=100)] = Field(default_factory=list)
