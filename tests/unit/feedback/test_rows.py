"""Which truths are news, and what a text from a file means."""

from datetime import UTC, datetime, timedelta

import pytest

from tidemill.features.feedback.rows import KnownTruths, Target, ToldTruth, fit_to_target, sort_out
from tidemill.kit.errors import Problem
from tidemill.kit.labels import Label, label_key, label_of_text, number_of_text

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def told(truth: Label, observed_at: datetime | None = None, text: str | None = None) -> ToldTruth:
    return ToldTruth("row 2", "prd_a", truth, observed_at, text)


def test_numbers_booleans_and_texts_are_never_mixed_up() -> None:
    assert label_key(1) == label_key(1.0)
    assert len({label_key(1), label_key(True), label_key("1")}) == 3


@pytest.mark.parametrize(
    ("text", "classes", "label"),
    [
        ("1", [0, 1], 1),
        ("1.0", [0, 1], 1),
        ("true", [False, True], True),
        ("0", [False, True], False),
        ("1", ["0", "1"], "1"),
        (" yes", ["yes"], "yes"),
        (" yes", ["yes", " yes"], " yes"),
        ("2", [0, 1], None),
    ],
)
def test_a_text_becomes_the_class_it_writes(text: str, classes: list[Label], label: Label | None) -> None:
    found = label_of_text(text, classes)
    assert (found, type(found)) == (label, type(label))


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "-Infinity", "1e999", "1_000"])
def test_what_writes_no_finite_number_is_none(text: str) -> None:
    assert number_of_text(text) is None


def test_big_integers_stay_exact() -> None:
    assert number_of_text("9007199254740993") == 9007199254740993


@pytest.mark.parametrize("truth", ["x", True, float("inf")])
def test_a_regression_takes_only_finite_numbers(truth: Label) -> None:
    assert isinstance(fit_to_target(told(truth), Target("regression", None)), Problem)


def test_a_model_of_unknown_task_takes_every_truth() -> None:
    assert fit_to_target(told("x"), Target(None, None)) == told("x")


def test_an_untimed_truth_counts_even_if_the_last_was_observed_a_moment_ahead_of_our_clock() -> None:
    known = KnownTruths({"prd_a": (1, NOW + HOUR)})
    result = sort_out([told(2)], known, NOW)
    assert (result.new[0].observed_at, result.revisions) == (NOW + HOUR, 1)


def test_the_same_truth_observed_again_later_is_kept_but_is_no_revision() -> None:
    known = KnownTruths({"prd_a": (1, NOW - HOUR)})
    result = sort_out([told(1, NOW)], known, NOW)
    assert (len(result.new), result.duplicates, result.revisions) == (1, 0, 0)


def test_an_older_observation_that_says_the_same_is_a_duplicate() -> None:
    known = KnownTruths({"prd_a": (1, NOW)})
    assert sort_out([told(1, NOW - HOUR)], known, NOW).duplicates == 1
