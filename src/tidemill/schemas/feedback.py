"""Feedback on the wire: what turned out to be true about predictions."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from tidemill.kit.labels import Label, is_finite_number
from tidemill.kit.names import Name
from tidemill.schemas.base import Moment, QueryParameters, Reply, RequestBody
from tidemill.schemas.faults import first_faults

MAX_ITEMS = 10_000
MAX_TRUTH_CHARACTERS = 1_000
PREDICTION_ID_PATTERN = r"^prd_[0-9a-f]{32}$"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL and lone surrogates: PostgreSQL takes neither."""
_TRUTH_RULE = f"A truth is a finite number, a boolean or a text of at most {MAX_TRUTH_CHARACTERS} characters."


def is_truth(value: object) -> bool:
    """Whether ``value`` can be a truth at all, whatever the model predicts."""
    if isinstance(value, str):
        return len(value) <= MAX_TRUTH_CHARACTERS and _UNSTORABLE.search(value) is None
    return isinstance(value, bool) or is_finite_number(value)


def _checked(value: Any) -> Label:
    if not is_truth(value):
        raise PydanticCustomError("truth_invalid", _TRUTH_RULE)
    return value  # type: ignore[no-any-return]


Truth = Annotated[
    Any,
    AfterValidator(_checked),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "number"}, {"type": "string"}]}),
]
PredictionId = Annotated[str, Field(pattern=PREDICTION_ID_PATTERN)]


class FeedbackItem(RequestBody):
    prediction_id: PredictionId
    """As the model server answered it."""
    truth: Truth
    """What turned out to be true: the class label as the model writes it, or the number."""
    observed_at: Moment | None = None
    """When it became known; by default the moment of this request."""


class FeedbackCreate(RequestBody):
    items: Annotated[list[FeedbackItem], Field(min_length=1, max_length=MAX_ITEMS), first_faults(MAX_ITEMS)]
    """Taken in order, all or none: of two truths for one prediction the later one counts."""
    deployment: Name | None = None
    """If given, truths about predictions of another deployment are refused."""


class FeedbackCounts(Reply):
    """What became of the rows of one request."""

    received: int = 0
    accepted: int = 0
    """Stored; of these, ``revisions`` replaced an earlier, different truth."""
    revisions: int = 0
    duplicates: int = 0
    """Known already, nothing changed."""
    skipped: int = 0
    """Rows of a file without a truth."""
    unmatched: int = 0
    """Stored although the prediction is not in the ledger; it may still be on its way from a model server."""
    warnings: list[str] = Field(default_factory=list)
    """What was guessed about a file and may be wrong, such as its encoding."""

    def plus(self, other: "FeedbackCounts") -> "FeedbackCounts":
        names = type(self).model_fields
        return FeedbackCounts(**{name: getattr(self, name) + getattr(other, name) for name in names})


class FeedbackFileQuery(QueryParameters):
    """How to read a file of feedback."""

    deployment: Name | None = None
    """If given, truths about predictions of another deployment are refused."""
    id_column: Annotated[str, Field(min_length=1, max_length=200)] = "prediction_id"
    """Column (or member) that holds the prediction's id."""
    truth_column: Annotated[str, Field(min_length=1, max_length=200)] = "truth"
    """Column (or member) that holds the truth."""
    observed_at_column: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    """Column (or member) that holds when the truth became known (RFC 3339), if there is one."""
