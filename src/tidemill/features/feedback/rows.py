"""Truths as callers tell them, and which of them are news."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from tidemill.kit.errors import Problem
from tidemill.kit.labels import Label, is_finite_number, label_key, label_of_text, number_of_text


@dataclass(frozen=True, slots=True)
class ToldTruth:
    """One truth and the place in the request that holds it. ``text`` is set if it came from a file without types.

    id_place, moment_place: where the id and ``observed_at`` stand.
    """

    place: str
    prediction_id: str
    truth: Label
    observed_at: datetime | None = None
    text: str | None = None
    id_place: str = ""
    moment_place: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """What a model predicts: ``task`` (None if unknown) and, for classification, its ``classes``."""

    task: str | None
    classes: Sequence[Label] | None


def fit_to_target(row: ToldTruth, target: Target) -> ToldTruth | Problem:
    """The row with a text turned into the model's type; a Problem if it cannot be a truth of this model."""
    if target.task == "regression":
        return _fit_number(row)
    if target.classes:
        return _fit_class(row, target.classes)
    return row


def _fit_number(row: ToldTruth) -> ToldTruth | Problem:
    number = number_of_text(row.text) if row.text is not None else row.truth
    if number is None or not is_finite_number(number):
        return Problem(row.place, "truth_not_number", "The model predicts numbers; this truth is not a finite number.")
    return replace(row, truth=number)


def _fit_class(row: ToldTruth, classes: Sequence[Label]) -> ToldTruth | Problem:
    if row.text is not None:
        label = label_of_text(row.text, classes)
        if label is not None:
            return replace(row, truth=label)
    elif label_key(row.truth) in {label_key(label) for label in classes}:
        return row
    return Problem(row.place, "truth_not_a_class", f"This truth is none of the model's {len(classes)} classes.")


@dataclass
class KnownTruths:
    """What the database holds already about the predictions of one request."""

    latest: dict[str, tuple[Label, datetime]] = field(default_factory=dict)
    moments: set[tuple[str, datetime, tuple[str, Label]]] = field(default_factory=set)
    """Truths at exactly the moments that the request names."""


@dataclass(frozen=True, slots=True)
class NewTruth:
    prediction_id: str
    truth: Label
    observed_at: datetime


@dataclass
class Sorted:
    new: list[NewTruth] = field(default_factory=list)
    duplicates: int = 0
    revisions: int = 0


def sort_out(rows: Iterable[ToldTruth], known: KnownTruths, now: datetime) -> Sorted:
    """Split ``rows`` into news and duplicates; ``known`` grows along, so that later rows see earlier ones."""
    result = Sorted()
    for row in rows:
        last = known.latest.get(row.prediction_id)
        observed_at = row.observed_at or (max(now, last[1]) if last else now)
        if _is_duplicate(row, observed_at, known):
            result.duplicates += 1
            continue
        result.new.append(NewTruth(row.prediction_id, row.truth, observed_at))
        known.moments.add((row.prediction_id, observed_at, label_key(row.truth)))
        if last is None or observed_at >= last[1]:
            result.revisions += last is not None and label_key(last[0]) != label_key(row.truth)
            known.latest[row.prediction_id] = (row.truth, observed_at)
    return result


def _is_duplicate(row: ToldTruth, observed_at: datetime, known: KnownTruths) -> bool:
    if (row.prediction_id, observed_at, label_key(row.truth)) in known.moments:
        return True
    last = known.latest.get(row.prediction_id)
    if last is None or not _says_the_same(row, last[0]):
        return False
    return row.observed_at is None or observed_at <= last[1]


def _says_the_same(row: ToldTruth, known: Label) -> bool:
    """A text stored before its model was known is the same truth as the label it was turned into later."""
    return label_key(row.truth) == label_key(known) or (row.text is not None and row.text == known)
