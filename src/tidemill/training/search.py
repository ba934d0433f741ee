"""Search over candidates and their parameters with Optuna, resumable trial by trial.

The sampler is seeded afresh for each trial from the run's seed and the number of trials that were finished, so a run
that was killed and taken up again proposes what it would have proposed: tree-structured Parzen estimators (Bergstra
et al., Algorithms for Hyper-Parameter Optimization, 2011), multivariate and grouped by candidate.
"""

import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning, TrialPruned
from optuna.pruners import PercentilePruner
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from tidemill.kit.errors import Invalid
from tidemill.kit.metrics import higher_is_better
from tidemill.kit.reporter import Reporter
from tidemill.training.candidates import FAMILIES, Family, Params, Setting, known_points
from tidemill.training.fitting import (
    Fitted,
    FoldData,
    fit_and_score,
    fit_and_score_baseline,
    validation_interval,
    validation_score,
)
from tidemill.training.library_errors import FIT_ERRORS

_SEEDS_PER_RUN = 1_000_003
_MOST_TOO_LONG = 5
_MOST_BROKEN = 10
_OVER, _ERROR = "search_over", "error"
_KEPT_PERCENT = 65.0
_WARMUP_STEPS = 4
"""Of boosting, in rounds times learning rate; folds count on from here, so the first one can prune."""
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)

FoldsOf = Callable[[str], list[FoldData]]
"""The encoded folds for an encoding's name; made once each."""


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """Stop after so many finished trials, or when the time is over, whichever comes first. One of them is given."""

    trials: int | None
    seconds: float | None


@dataclass(frozen=True)
class TrialRecord:
    """A finished trial. ``score`` is None where it was pruned; ``iterations`` are the best ones over the folds.

    low, high: ends of the score's interval, for trials that were the best of their candidate when they were done.
    """

    number: int
    candidate: str
    params: Params
    score: float | None
    iterations: int
    seconds: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class BaselineScore:
    """What the naive baseline reaches on the validation rows."""

    score: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search found, and what it has to be better than."""

    trials: list[TrialRecord]
    naive: BaselineScore


class OutOfTimeError(Exception):
    """The time budget ended in the middle of a trial."""


def open_study(name: str, storage: Any, setting: Setting) -> optuna.Study:
    """Create the study or take it up again; trials that a killed attempt left behind are marked failed."""
    # Its warnings repeat statements with their values, which have no place in a job's log.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        direction="maximize" if higher_is_better(setting.metric) else "minimize",
        pruner=PercentilePruner(_KEPT_PERCENT, n_startup_trials=4, n_warmup_steps=_WARMUP_STEPS),
        load_if_exists=True,
    )
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    # One that was proposed and not begun: Optuna ends only what was begun.
    for _ in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.tell(study.ask(), state=TrialState.FAIL)
    return study


class Search:
    """The loop of one attempt. ``study`` may hold trials of earlier attempts, which count."""

    def __init__(self, study: optuna.Study, setting: Setting, folds_of: FoldsOf, reporter: Reporter) -> None:
        self._study = study
        self._setting = setting
        self._folds_of = folds_of
        self._reporter = reporter
        self._points = known_points(setting)
        self._too_long = 0

    def run(self, limits: SearchLimits) -> list[TrialRecord]:
        """Trials until a limit is reached, and at least one that is complete. Raises Invalid when all fail."""
        done = records(self._study)
        deadline = None
        if limits.seconds is not None:
            deadline = time.monotonic() + limits.seconds - sum(record.seconds for record in done)
        while not self._is_over(done, limits, deadline):
            self._reporter.check()
            self._attempt(self._ordinal(), deadline if _complete(done) else None)
            done = records(self._study)
            self._show(done, limits)
        if not _complete(done):
            raise Invalid("search_without_result", "No trial was completed; the job's log says why.")
        # A job that is run again after this point must find the same winner, whatever time it has left.
        self._study.set_user_attr(_OVER, True)
        return done

    def _is_over(self, done: list[TrialRecord], limits: SearchLimits, deadline: float | None) -> bool:
        if self._study.user_attrs.get(_OVER, False):
            return True
        if limits.trials is not None and len(done) + self._broken() >= limits.trials:
            return True
        if self._too_long >= _MOST_TOO_LONG or self._broken() >= _MOST_BROKEN:
            return True
        return deadline is not None and time.monotonic() >= deadline and bool(_complete(done))

    def _broken(self) -> int:
        """Trials whose fit failed; those are not tried again, unlike trials of a killed attempt."""
        return sum(_ERROR in trial.user_attrs for trial in self._study.get_trials(deepcopy=False))

    def _ordinal(self) -> int:
        return len(records(self._study)) + self._broken() + self._too_long

    def _attempt(self, ordinal: int, deadline: float | None) -> None:
        trial = self._ask(ordinal)
        started = time.monotonic()
        state, score = TrialState.PRUNED, None
        try:
            score, iterations = self._evaluate(trial, deadline)
            trial.set_user_attr("iterations", iterations)
            state = TrialState.COMPLETE
        except TrialPruned:
            pass
        except OutOfTimeError:
            self._too_long += 1
            state = TrialState.FAIL
        except FIT_ERRORS as error:
            trial.set_user_attr(_ERROR, type(error).__name__)
            self._reporter.log("warning", f"Trial {trial.number} failed ({type(error).__name__}).")
            state = TrialState.FAIL
        trial.set_user_attr("seconds", round(time.monotonic() - started, 3))
        self._reporter.check()
        self._study.tell(trial, score, state=state)

    def _ask(self, ordinal: int) -> Trial:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            self._study.sampler = TPESampler(
                seed=(self._setting.seed * _SEEDS_PER_RUN + ordinal) % 2**32, multivariate=True, group=True,
                n_startup_trials=len(self._points),
            )  # fmt: skip
        if ordinal < len(self._points):
            self._study.enqueue_trial(self._points[ordinal])
        return self._study.ask()

    def _evaluate(self, trial: Trial, deadline: float | None) -> tuple[float, int]:
        family = FAMILIES[trial.suggest_categorical("candidate", list(FAMILIES))]
        params = family.suggest(trial, self._setting)
        self._expect_in_time(family, deadline)
        folds = self._folds_of(family.encoding)
        found: list[Fitted] = []
        for number, fold in enumerate(folds):
            follow = self._follow(trial if len(folds) == 1 else None, deadline)
            found.append(fit_and_score(family, params, self._setting, fold, follow))
            if len(folds) > 1:
                _report(trial, validation_score(found), _WARMUP_STEPS + number)
        score = validation_score(found)
        if not np.isfinite(score):
            metric = self._setting.metric
            raise Invalid(
                "metric_undefined", f"The metric {metric} is undefined on the validation rows; choose another."
            )
        if self._leads(family, score) and (ends := validation_interval(self._setting.metric, folds, found)):
            trial.set_user_attr("low", ends.low)
            trial.set_user_attr("high", ends.high)
        return score, round(float(np.mean([one.iterations for one in found])))

    def _leads(self, family: Family, score: float) -> bool:
        """Whether no trial of the family was as good; only those are ever shown beside others."""
        sign = 1 if higher_is_better(self._setting.metric) else -1
        mine = [one for one in _complete(records(self._study)) if one.candidate == family.name]
        return all(sign * score > sign * _score(one) for one in mine)

    def _follow(self, trial: Trial | None, deadline: float | None) -> Callable[[float, float | None], None]:
        last_step = 0

        def on_round(reached: float, value: float | None) -> None:
            nonlocal last_step
            if deadline is not None and time.monotonic() > deadline:
                raise OutOfTimeError
            if int(reached) == last_step:
                return
            last_step = int(reached)
            self._reporter.check()
            if trial is not None and value is not None:
                _report(trial, value, last_step)

        return on_round

    def _expect_in_time(self, family: Family, deadline: float | None) -> None:
        """Methods that cannot be stopped are not begun when their usual time is more than what is left."""
        if deadline is None or family.name == "lightgbm":
            return
        usual = [record.seconds for record in records(self._study) if record.candidate == family.name]
        if usual and time.monotonic() + max(usual) > deadline:
            raise OutOfTimeError

    def _show(self, done: list[TrialRecord], limits: SearchLimits) -> None:
        best = best_of(done, self._setting.metric) if _complete(done) else None
        self._reporter.progress(
            "search", len(done), limits.trials, f"trial {len(done)}: {done[-1].candidate}" if done else "",
            best=best.score if best else None, metric=self._setting.metric,
        )  # fmt: skip


def records(study: optuna.Study) -> list[TrialRecord]:
    """Finished trials in order."""
    return [_record(trial) for trial in study.get_trials(deepcopy=False, states=_FINISHED)]


def score_baseline(folds: list[FoldData], setting: Setting) -> BaselineScore:
    """The naive baseline on the folds that the trials were scored on."""
    found = [fit_and_score_baseline(setting, fold) for fold in folds]
    ends = validation_interval(setting.metric, folds, found)
    return BaselineScore(validation_score(found), ends.low if ends else None, ends.high if ends else None)


def best_of(done: Iterable[TrialRecord], metric: str) -> TrialRecord:
    """The best complete trial; of equal ones the first."""
    sign = 1 if higher_is_better(metric) else -1
    return max(_complete(done), key=lambda record: (sign * _score(record), -record.number))


def best_per_candidate(done: Iterable[TrialRecord], metric: str) -> list[TrialRecord]:
    """The best complete trial of each family, best first."""
    complete = _complete(done)
    names = {record.candidate for record in complete}
    found = [best_of((record for record in complete if record.candidate == name), metric) for name in sorted(names)]
    sign = -1 if higher_is_better(metric) else 1
    return sorted(found, key=lambda record: (sign * _score(record), record.number))


def _complete(done: Iterable[TrialRecord]) -> list[TrialRecord]:
    return [record for record in done if record.score is not None]


def _score(record: TrialRecord) -> float:
    assert record.score is not None
    return record.score


def _report(trial: Trial, value: float, step: int) -> None:
    trial.report(value, step)
    if trial.should_prune():
        raise TrialPruned


def _record(trial: FrozenTrial) -> TrialRecord:
    family = trial.params["candidate"]
    score = trial.value if trial.state == TrialState.COMPLETE else None
    return TrialRecord(
        number=trial.number,
        candidate=family,
        params={name: value for name, value in trial.params.items() if name != "candidate"},
        score=score,
        iterations=int(trial.user_attrs.get("iterations", 0)),
        seconds=float(trial.user_attrs.get("seconds", 0.0)),
        low=trial.user_attrs.get("low"),
        high=trial.user_attrs.get("high"),
    )
