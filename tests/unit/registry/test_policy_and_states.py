"""The gate's rule and the stack of champions, without any model."""

from typing import Any

import pytest

from tidemill.features.registry.policy import decide
from tidemill.features.registry.states import Move, champions, previous_champion
from tidemill.schemas.registry import Check, Comparison, GatePolicy

GOOD = Check(code="bundle", passed=True, detail="Fine")


def beat(against: str, low: float, high: float = 0.5, **changes: Any) -> Comparison:
    number = 1 if against == "champion" else None
    return Comparison(
        against=against, number=number, scored=True, metric="roc_auc", difference=(low + high) / 2, low=low, high=high,
        **changes,
    )  # fmt: skip


BASELINE = beat("baseline", 0.1)


@pytest.mark.parametrize(
    ("policy", "comparisons", "passed"),
    [
        ({}, [BASELINE], True),
        ({}, [beat("baseline", 0.0)], False),
        ({}, [beat("baseline", -0.1)], False),
        ({}, [], False),
        ({}, [BASELINE, beat("champion", 0.001)], True),
        ({}, [BASELINE, beat("champion", -0.001)], False),
        ({"champion_margin": 0.01}, [BASELINE, beat("champion", -0.009)], True),
        ({"champion_margin": 0.01}, [BASELINE, beat("champion", -0.01)], False),
        ({"champion_margin": 0.01}, [beat("baseline", -0.001), beat("champion", 0.1)], False),
        ({"baseline_margin": 0.01}, [beat("baseline", -0.001)], True),
        ({}, [BASELINE, Comparison(against="champion", number=1, scored=False, reason="gone")], False),
        ({"unscorable_champion": "promote"}, [BASELINE, Comparison(against="champion", scored=False)], True),
        ({"unscorable_champion": "promote"}, [Comparison(against="baseline", scored=False)], False),
    ],
)
def test_intervals_and_margins_decide(policy: dict[str, Any], comparisons: list[Comparison], passed: bool) -> None:
    verdict = decide(GatePolicy(**policy), [GOOD], comparisons)
    assert verdict.passed is passed
    assert verdict.reasons


def test_a_failed_check_is_a_no_unless_the_policy_ignores_it() -> None:
    bad = Check(code="leakage", passed=False, detail="Column x alone predicts the target")
    verdict = decide(GatePolicy(), [GOOD, bad], [BASELINE])
    assert not verdict.passed
    assert verdict.reasons[0] == "Check leakage failed: Column x alone predicts the target"
    assert decide(GatePolicy(ignored_checks=["leakage"]), [bad], [BASELINE]).passed


def test_rollbacks_walk_down_the_stack_and_never_forth_again() -> None:
    events: list[tuple[Move, int | None]] = [(Move.GATE, 1), (Move.FORCED, 2), (Move.PROMOTED, 3)]
    assert previous_champion(champions(events), 3, set()) == 2
    events.append((Move.ROLLBACK, 2))
    assert champions(events) == [1, 2]
    assert previous_champion(champions(events), 2, set()) == 1
    events.append((Move.GATE, 4))
    assert previous_champion(champions(events), 4, set()) == 2
    events += [(Move.ROLLBACK, 2), (Move.ROLLBACK, 1)]
    assert champions(events) == [1]
    assert previous_champion(champions(events), 1, set()) is None


def test_a_rollback_over_a_deleted_version_forgets_it() -> None:
    events: list[tuple[Move, int | None]] = [(Move.GATE, 1), (Move.GATE, 2), (Move.GATE, 3)]
    assert previous_champion(champions(events), 3, {2}) == 1
    assert champions([*events, (Move.ROLLBACK, 1)]) == [1]


def test_a_champion_promoted_again_is_not_its_own_predecessor() -> None:
    events = [(Move.GATE, 1), (Move.GATE, 2), (Move.GATE, 3), (Move.GATE, 2)]
    assert previous_champion(champions(events), 2, {3}) == 1
