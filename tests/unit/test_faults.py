"""A body of wrong values tells the same first faults as if all had been looked for, and counts no others."""

from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from tidemill.schemas.base import RequestBody
from tidemill.schemas.faults import MAX_FAULTS, first_faults
from tidemill.schemas.feedback import MAX_ITEMS, FeedbackCreate, FeedbackItem
from tidemill.web.problems import MAX_PROBLEMS

_GOOD = {"prediction_id": f"prd_{'0' * 32}", "truth": 1, "observed_at": "2026-01-01T00:00:00Z"}
_BAD = {"prediction_id": "x", "truth": [1], "observed_at": 7, "other": None}


class _AllFaults(RequestBody):
    items: Annotated[list[FeedbackItem], Field(min_length=1, max_length=MAX_ITEMS)]
    deployment: str | None = None


class _Names(RequestBody):
    names: Annotated[list[Annotated[str, Field(max_length=3)]], Field(max_length=500), first_faults(500)]


def _faults(model: type[RequestBody], body: Any) -> list[tuple[Any, ...]]:
    with pytest.raises(ValidationError) as refused:
        model.model_validate(body)
    return [(fault["loc"], fault["type"], fault["msg"]) for fault in refused.value.errors()]


_ITEMS: dict[str, Any] = {
    "all wrong": [_BAD] * MAX_ITEMS,
    "all of another type": [None] * MAX_ITEMS,
    "the last one": [_GOOD] * (MAX_ITEMS - 1) + [{}],
    "a few, far from each other": [_BAD if at % 997 == 0 else _GOOD for at in range(MAX_ITEMS)],
    "around a border": [_GOOD] * 199 + [_BAD, _BAD] + [_GOOD] * 300,
    "few": [_BAD, _GOOD],
    "none at all": [],
    "too many": [_BAD] * (MAX_ITEMS + 1),
    "no list": {"0": _BAD},
}


@pytest.mark.parametrize("name", _ITEMS)
def test_the_faults_that_are_told_are_the_first_ones_at_their_places(name: str) -> None:
    body = {"items": _ITEMS[name]}
    found = _faults(FeedbackCreate, body)
    assert found[:MAX_PROBLEMS] == _faults(_AllFaults, body)[:MAX_PROBLEMS]
    assert len(found) <= MAX_FAULTS + 200 * len(_BAD)


def test_as_many_faults_are_looked_for_as_are_told() -> None:
    assert MAX_FAULTS == MAX_PROBLEMS


def test_a_long_list_without_a_fault_is_taken_whole_and_in_order() -> None:
    truths = list(range(MAX_ITEMS))
    taken = FeedbackCreate.model_validate({"items": [_GOOD | {"truth": truth} for truth in truths]})
    assert [item.truth for item in taken.items] == truths
    names = [f"{number:03}" for number in range(500)]
    assert _Names.model_validate({"names": names}).names == names


def test_of_unknown_members_the_first_ones_are_told() -> None:
    unknown = {f"unknown {number}": None for number in range(40_000)}
    body = {"deployment": "a", **unknown, "items": [_GOOD]}
    found = _faults(FeedbackCreate, body)
    assert found == _faults(FeedbackCreate, {**body, "items": [_GOOD]})
    assert [place for place, _, _ in found] == [(name,) for name in list(unknown)[:MAX_FAULTS]]
    assert {kind for _, kind, _ in found} == {"extra_forbidden"}
