"""The search: repeatable, resumable, bounded."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from tests.unit.training.tables import SilentReporter, people, prepared
from tidemill.training.candidates import FAMILIES
from tidemill.training.folds import encoded_folds
from tidemill.training.preparation import Prepared
from tidemill.training.search import Search, SearchLimits, TrialRecord, best_of, best_per_candidate, open_study


@pytest.fixture(scope="module")
def small() -> Prepared:
    """Split by time, so that there is one fold."""
    return prepared(people(), target="good", exclude=["score", "grade"], time_column="joined")


def run(
    small: Prepared, limits: SearchLimits, storage: optuna.storages.BaseStorage, reporter: SilentReporter | None = None
) -> list[TrialRecord]:
    study = open_study("study", storage, small.setting)
    folds = encoded_folds(small.frame, small.target, small.features, small.split)
    return Search(study, small.setting, folds, reporter or SilentReporter()).run(limits)


def seen(done: list[TrialRecord]) -> list[tuple[str, str, float | None]]:
    return [(one.candidate, str(sorted(one.params.items())), one.score) for one in done]


LIMITS = SearchLimits(trials=6, seconds=None)
UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)


def test_an_interrupted_search_finds_what_an_uninterrupted_one_finds(small: Prepared) -> None:
    whole = run(small, LIMITS, optuna.storages.InMemoryStorage())
    storage = optuna.storages.InMemoryStorage()
    for checks in (6, 9):
        with pytest.raises(KeyboardInterrupt):
            run(small, LIMITS, storage, SilentReporter(fail_at=checks))
    resumed = run(small, LIMITS, storage)
    assert seen(resumed) == seen(whole)
    states = [trial.state for trial in optuna.load_study(study_name="study", storage=storage).trials]
    assert states.count(TrialState.FAIL) >= 1
    assert TrialState.RUNNING not in states


class EndingStorage(optuna.storages.InMemoryStorage):
    """The process ends right after the write number ``after`` on a trial, whichever it is."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._left = after

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        created = super().create_new_trial(study_id, template_trial)
        self._written()
        return created

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        changed = super().set_trial_state_values(trial_id, state, values)
        self._written()
        return changed

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        self._written()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        super().set_trial_user_attr(trial_id, key, value)
        self._written()

    def _written(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt


def test_a_search_goes_on_after_whichever_write_it_was_ended(small: Prepared) -> None:
    limits = SearchLimits(trials=1, seconds=None)
    whole = run(small, limits, optuna.storages.InMemoryStorage())
    ended = 0
    while True:
        storage = EndingStorage(ended + 1)
        try:
            run(small, limits, storage)
            break
        except KeyboardInterrupt:
            ended += 1
        assert seen(run(small, limits, storage)) == seen(whole), f"ended after write {ended}"
        assert not any(trial.state in UNFINISHED for trial in storage.get_all_trials(0))
    assert ended > 5


def test_every_family_gets_its_turn_and_the_best_is_first(small: Prepared) -> None:
    reporter = SilentReporter()
    done = run(small, LIMITS, optuna.storages.InMemoryStorage(), reporter)
    board = best_per_candidate(done, "roc_auc")
    assert {one.candidate for one in board} == {"lightgbm", "linear", "hist_gradient_boosting", "random_forest"}
    assert board[0] == best_of(done, "roc_auc")
    for one in board:
        assert one.low is not None
        assert one.high is not None
        assert one.score is not None
        assert one.low < one.score < one.high
    assert ("search", 6, 6) in reporter.stages


def test_a_finished_search_is_not_repeated(small: Prepared) -> None:
    storage = optuna.storages.InMemoryStorage()
    first = run(small, SearchLimits(2, None), storage)
    again = run(small, SearchLimits(2, None), storage)
    assert seen(first) == seen(again)
    assert len(optuna.load_study(study_name="study", storage=storage).trials) == 2


def test_a_time_budget_ends_the_search_but_never_without_a_result(small: Prepared) -> None:
    done = run(small, SearchLimits(trials=None, seconds=0.01), optuna.storages.InMemoryStorage())
    assert len(done) == 1


def test_a_search_that_was_over_is_over_even_with_time_left(small: Prepared) -> None:
    storage = optuna.storages.InMemoryStorage()
    first = run(small, SearchLimits(trials=None, seconds=0.01), storage)
    assert seen(run(small, SearchLimits(trials=None, seconds=60), storage)) == seen(first)


def test_a_candidate_that_cannot_be_fitted_does_not_end_the_search(
    small: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError

    monkeypatch.setitem(FAMILIES, "linear", replace(FAMILIES["linear"], build=broken))
    done = run(small, SearchLimits(4, None), optuna.storages.InMemoryStorage())
    assert [one.candidate for one in done] == ["lightgbm", "hist_gradient_boosting", "random_forest"]
