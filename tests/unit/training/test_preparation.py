"""What is inferred from a table, and what is refused, naming the column and never its values."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.unit.training.tables import people, prepared
from tidemill.kit.errors import Invalid

ROWS = 200
RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=ROWS)


def codes_of(found: Any) -> set[str]:
    return {finding.code for finding in found.findings}


@pytest.mark.parametrize(
    ("target", "task", "classes"),
    [
        (np.where(NOISE > 0, "b", "a"), "binary", ("a", "b")),
        (NOISE > 0, "binary", (False, True)),
        (np.where(NOISE > 0, 7, 3), "binary", (3, 7)),
        (np.where(NOISE > 0, 1.0, 0.0), "binary", (0, 1)),
        (np.array(["a", "b", "c", "d"] * 50), "multiclass", ("a", "b", "c", "d")),
        (np.arange(ROWS) % 5, "multiclass", (0, 1, 2, 3, 4)),
        (np.arange(ROWS) % 50, "regression", ()),
        (NOISE, "regression", ()),
    ],
)
def test_the_task_is_inferred_and_explained(target: Any, task: str, classes: tuple[Any, ...]) -> None:
    found = prepared(pd.DataFrame({"x": RNG.normal(size=ROWS), "y": target}), target="y")
    assert (found.target.task, found.target.classes) == (task, classes)
    assert "task_inferred" in codes_of(found)


def test_a_wanted_task_is_taken() -> None:
    frame = pd.DataFrame({"x": NOISE, "y": np.arange(ROWS) % 5})
    assert prepared(frame, target="y", task="regression").target.task == "regression"


def frame_with(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"x": NOISE, "y": np.where(NOISE > 0, "secret-b", "secret-a")} | columns)


REFUSED: list[tuple[str, pd.DataFrame, dict[str, Any], str]] = [
    ("column_unknown", frame_with(), {"target": "z"}, "z"),
    ("column_unknown", frame_with(), {"target": "y", "time_column": "tme"}, "tme"),
    ("column_unknown", frame_with(), {"target": "y", "exclude": ["gone"]}, "gone"),
    ("target_constant", frame_with(y="secret"), {"target": "y"}, "y"),
    ("target_all_missing", frame_with(y=pd.Series([None] * ROWS, dtype="str")), {"target": "y"}, "y"),
    ("target_too_many_classes", frame_with(y=[f"secret-{n}" for n in range(ROWS)]), {"target": "y"}, "y"),
    ("rows_too_few", frame_with().head(2), {"target": "y"}, "y"),
    ("class_too_small", frame_with(y=["secret-a"] * (ROWS - 2) + ["secret-b"] * 2), {"target": "y"}, "y"),
    ("target_not_binary", frame_with(y=["a", "b", "c", "d"] * 50), {"target": "y", "task": "binary"}, "y"),
    ("target_not_numeric", frame_with(), {"target": "y", "task": "regression"}, "y"),
    ("values_infinite", frame_with(w=np.where(NOISE > 2, np.inf, NOISE)), {"target": "y"}, "w"),
    ("values_infinite", frame_with(y=np.where(NOISE > 2, np.inf, NOISE)), {"target": "y"}, "y"),
    ("times_out_of_range", frame_with(until=[date(2020, 1, 1), date(9999, 12, 31)] * 100), {"target": "y"}, "until"),
    ("metric_unfit", frame_with(), {"target": "y", "metric": "rmse"}, "metric"),
    ("time_column_type", frame_with(t=["a", "b"] * 100), {"target": "y", "time_column": "t"}, "t"),
    ("time_column_missing", frame_with(t=np.where(NOISE > 2, np.nan, 1.0)), {"target": "y", "time_column": "t"}, "t"),
    ("groups_too_few", frame_with(g="one"), {"target": "y", "group_column": "g"}, "g"),
    ("split_class_missing", frame_with(t=np.argsort(np.argsort(NOISE))), {"target": "y", "time_column": "t"}, "y"),
    ("target_type_unsupported", frame_with(y=pd.date_range("2020", periods=ROWS)), {"target": "y"}, "y"),
    ("features_missing", frame_with(x=1.0), {"target": "y"}, "x"),
]


@pytest.mark.parametrize(("code", "frame", "options", "place"), REFUSED, ids=[case[0] for case in REFUSED])
def test_what_cannot_be_learned_is_refused_by_place(
    code: str, frame: pd.DataFrame, options: dict[str, Any], place: str
) -> None:
    with pytest.raises(Invalid) as refused:
        prepared(frame, **options)
    assert refused.value.code == code
    assert place in refused.value.problems[0].pointer
    said = refused.value.detail + str(refused.value.problems)
    assert "secret" not in said


def test_near_names_are_offered() -> None:
    with pytest.raises(Invalid, match="Did you mean wage"):
        prepared(people(), target="wages")


def test_rows_without_target_are_left_out_and_counted() -> None:
    frame = people()
    frame.loc[:9, "good"] = None
    found = prepared(frame, target="good", exclude=["score", "grade"])
    assert len(found.rows) == len(frame) - 10
    assert any("10 of 400" in finding.detail for finding in found.findings)
    assert found.rows[0] == 10


def test_constants_identifiers_and_running_numbers_are_dropped_with_a_note() -> None:
    frame = frame_with(same=1, key=[f"k{n}" for n in range(ROWS)], number=np.arange(ROWS))
    found = prepared(frame, target="y")
    assert found.features.names == ["x"]
    assert {"column_constant", "column_id_like"} <= codes_of(found)


def test_random_splits_are_stratified_and_repeatable() -> None:
    one = prepared(people(), target="good", exclude=["score", "grade"])
    two = prepared(people(), target="good", exclude=["score", "grade"])
    other = prepared(people(), target="good", exclude=["score", "grade"], seed=1)
    np.testing.assert_array_equal(one.split.holdout, two.split.holdout)
    assert not np.array_equal(one.split.holdout, other.split.holdout)
    share = one.target.codes.mean()
    assert abs(one.target.codes[one.split.holdout].mean() - share) < 0.02
    assert len(np.intersect1d(one.split.holdout, one.split.development)) == 0
    for train, validation in one.split.folds:
        assert len(np.intersect1d(train, validation)) == 0
        assert np.isin(np.r_[train, validation], one.split.development).all()


def test_time_splits_hold_out_the_newest_rows_and_keep_moments_together() -> None:
    frame = people()
    found = prepared(frame, target="score", time_column="joined", exclude=["good", "grade"])
    times = frame["joined"].to_numpy()
    assert times[found.split.development].max() < times[found.split.holdout].min()
    train, validation = found.split.folds[0]
    assert times[train].max() < times[validation].min()
    assert found.features.trendless == ("joined",)


def test_group_splits_keep_groups_together() -> None:
    frame = people().assign(household=np.arange(400) // 4)
    found = prepared(frame, target="good", group_column="household", exclude=["score", "grade"])
    groups = frame["household"].to_numpy()
    assert not np.isin(groups[found.split.holdout], groups[found.split.development]).any()
    assert "household" not in found.features.names


def test_groups_that_were_held_out_are_held_out_again_when_the_dataset_grows() -> None:
    earlier = people(1000).assign(site=np.arange(1000) % 50)
    later = people(1000, seed=1).assign(site=np.arange(1000) % 50 + 50)
    options: dict[str, Any] = {"target": "good", "exclude": ["score", "grade"], "group_column": "site"}
    before = prepared(earlier, **options).split
    after = prepared(pd.concat([earlier, later], ignore_index=True), **options).split
    again = np.intersect1d(before.holdout, after.holdout)
    assert len(again) > 0.4 * len(before.holdout)


def test_the_share_of_a_group_split_counts_rows_and_passes_over_groups_that_are_too_large() -> None:
    frame = people(1000).assign(site=np.r_[np.zeros(600, dtype=int), np.arange(400) % 40 + 1])
    for seed in range(5):
        found = prepared(frame, target="good", group_column="site", exclude=["score", "grade"], seed=seed)
        assert 180 <= len(found.split.holdout) <= 220
        assert found.groups is not None
        assert not set(found.groups[found.split.holdout]) & set(found.groups[found.split.development])


def test_a_class_with_few_rows_in_the_holdout_is_warned_of() -> None:
    rare = np.where(np.arange(ROWS) % 20 == 0, "b", "a")
    assert "class_rare" in codes_of(prepared(frame_with(y=rare), target="y"))
    assert "class_rare" not in codes_of(prepared(frame_with(), target="y"))


def test_few_groups_in_the_holdout_are_warned_of() -> None:
    frame = people().assign(site=np.arange(400) % 10)
    found = prepared(frame, target="good", group_column="site", exclude=["score", "grade"])
    assert "groups_few" in codes_of(found)
    assert "groups_few" not in codes_of(prepared(frame, target="good", group_column="age"))


@pytest.mark.parametrize(("counts", "held_out"), [((60, 25, 15), 15), ((30, 30, 40), 40), ((10, 80, 10), 10)])
def test_a_time_split_cuts_between_moments_nearest_to_its_share(counts: tuple[int, ...], held_out: int) -> None:
    year = np.repeat([2001, 2002, 2003], counts)
    frame = pd.DataFrame({"year": year, "x": RNG.normal(size=100), "y": RNG.normal(size=100)})
    assert len(prepared(frame, target="y", time_column="year").split.holdout) == held_out


def test_a_numeric_time_column_is_no_feature() -> None:
    frame = frame_with(period=np.arange(ROWS) // 2 * 10)
    found = prepared(frame, target="y", time_column="period")
    assert found.features.names == ["x"]
    assert "time_column_left_out" in codes_of(found)


def test_numbers_of_their_own_in_each_row_are_warned_of_and_kept() -> None:
    account = RNG.choice(10**9, ROWS, replace=False)
    found = prepared(frame_with(account=account, some=np.where(NOISE > 1, np.nan, account)), target="y")
    warned = [finding for finding in found.findings if finding.code == "column_id_like"]
    assert [(finding.severity, finding.columns) for finding in warned] == [("warning", ("account", "some"))]
    assert {"account", "some"} <= set(found.features.names)


def test_the_search_does_not_see_the_holdout_even_for_its_smallest_target() -> None:
    when = pd.date_range("2024", periods=ROWS)
    frame = pd.DataFrame({"x": NOISE, "when": when, "y": np.where(np.arange(ROWS) < 180, 1.5, -1.5) + abs(NOISE) / 9})
    assert prepared(frame, target="y", time_column="when").setting.non_negative


def test_a_column_that_knows_the_target_is_reported() -> None:
    found = prepared(people(), target="good", exclude=["grade"])
    leaks = [finding for finding in found.findings if finding.code == "column_predicts_target"]
    assert [finding.columns for finding in leaks] == [("score",)]


BESIDE = {
    "nothing": lambda _: {},
    "millions": lambda rng: {"number": rng.integers(10**6, 10**7, ROWS)},
    "long numbers": lambda rng: {"number": rng.integers(10**13, 10**14, ROWS)},
    "numbers of 64 bits": lambda rng: {"number": rng.integers(-(2**63), 2**63 - 1, ROWS)},
    "one huge number": lambda rng: {"number": np.where(np.arange(ROWS) == 7, 1e300, rng.normal(size=ROWS))},
    "tiny numbers": lambda rng: {"number": rng.normal(size=ROWS) * 1e-300},
    "times": lambda rng: {"number": 1.7e9 + rng.normal(size=ROWS)},
    "a constant": lambda _: {"number": np.full(ROWS, 2.0**60)},
    "mostly gaps": lambda rng: {"number": np.where(np.arange(ROWS) % 50, np.nan, rng.normal(size=ROWS))},
}


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("unit", [1.0, 1e-12, 1e12])
def test_columns_that_sum_to_the_target_are_an_error_whatever_else_the_table_holds(beside: str, unit: float) -> None:
    rng = np.random.default_rng(1)
    guests, members, heat = rng.poisson(20, ROWS) * unit, rng.poisson(80, ROWS), rng.normal(size=ROWS)
    total = guests + members * unit
    frame = pd.DataFrame({"guests": guests, "members": members, "heat": heat, **BESIDE[beside](rng), "total": total})
    sums = [one for one in prepared(frame, target="total").findings if one.code == "columns_sum_to_target"]
    assert [(one.severity, one.columns) for one in sums] == [("error", ("guests", "members"))]


def test_copies_across_the_split_are_reported() -> None:
    frame = pd.concat([people(200), people(200)], ignore_index=True)
    found = prepared(frame, target="good", exclude=["score", "grade"])
    assert any(one.code == "duplicates_across_split" and one.severity == "warning" for one in found.findings)
