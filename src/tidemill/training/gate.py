"""What a child of a worker computes for the gate and for comparisons: numbers, not decisions."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from tidemill.adapters.model_loading import TIDEMILL
from tidemill.evaluation.resampling import Bootstrap, enough_groups, paired_difference
from tidemill.evaluation.statistics import Scores, is_scorable
from tidemill.kit.errors import Invalid, TidemillError
from tidemill.kit.metrics import METRICS
from tidemill.kit.reporter import Reporter
from tidemill.training.holdouts import Holdout, read_holdout
from tidemill.training.row_keys import common_columns, row_keys
from tidemill.training.scoring import Contestant, unlike

_REPRODUCED_ROWS = 5000
_FEWEST_ROWS = 200
"""That neither model was trained on, for a comparison on these alone."""
_RELATIVE_TOLERANCE = 1e-6
_ABSOLUTE_TOLERANCE = 1e-9

Record = dict[str, Any]


def weigh(request: Record, reporter: Reporter) -> Record:
    """Checks of the challenger, and its comparisons with the baseline and the champion on its own holdout rows.

    ``request``: ``challenger``, ``champion`` (or None), ``parts`` of the challenger's dataset version,
    ``champion_parts`` of the champion's if that is another, ``metric`` (or None), ``confidence``, ``resamples``,
    ``seed``, ``max_rows``.
    """
    challenger = Contestant.from_request(request["challenger"])
    parts = [Path(part) for part in request["parts"]]
    if challenger.holdout is None or challenger.task is None:
        return _without_holdout(request)
    holdout = read_holdout(challenger.holdout, challenger.task, challenger.classes)
    reporter.progress("checking", 0, 3, "Reproducing the holdout predictions")
    checks = [_finite(holdout), _reproduced(challenger, parts, holdout, reporter.scratch)]
    arena = _Arena(holdout.sample(request["max_rows"], request["seed"]), parts, request, reporter)
    reporter.progress("comparing", 1, 3, "Against the naive baseline")
    comparisons = [arena.against_baseline()]
    if request["champion"] is not None:
        reporter.progress("comparing", 2, 3, "Against the champion")
        comparisons.append(arena.against(challenger, Contestant.from_request(request["champion"])))
    reporter.progress("comparing", 3, 3)
    return {"metric": comparisons[0].get("metric"), "checks": checks, "comparisons": comparisons}


def compare(request: Record, reporter: Reporter) -> Record:
    """Every metric of two versions on the same rows, with the paired interval of each difference.

    ``request``: ``first``, ``second``, ``holdout_of`` ("first" or "second"), ``parts``, ``confidence``, ``resamples``,
    ``seed``. The answer says ``scored: false`` with a reason where one of them cannot be scored there.
    """
    host = Contestant.from_request(request[request["holdout_of"]])
    guest = Contestant.from_request(request["second" if request["holdout_of"] == "first" else "first"])
    if host.holdout is None or host.task is None:
        return {"scored": False, "reason": "neither version has a holdout"}
    holdout = read_holdout(host.holdout, host.task, host.classes)
    reporter.progress("scoring", message=f"{len(holdout.row)} rows")
    try:
        guest_scores = _score_on(host, guest, holdout, [Path(part) for part in request["parts"]], reporter.scratch)
    except TidemillError as error:
        return {"scored": False, "reason": reason_of(error)}
    first, second = holdout.scores, guest_scores
    if host is not guest and request["holdout_of"] == "second":
        first, second = second, first
    differences = _differences(holdout, first, second, request)
    return {"scored": True, "row_count": len(holdout.row), "differences": differences}


def reason_of(error: TidemillError) -> str:
    """The error as a reason in a decision: what was wrong and where, on one line."""
    places = ", ".join(problem.pointer for problem in error.problems[:10])
    return f"{error.detail.rstrip('.')} ({places})" if places else error.detail.rstrip(".")


class _Arena:
    """The rows and rules that all opponents share."""

    def __init__(self, holdout: Holdout, parts: list[Path], request: Record, reporter: Reporter) -> None:
        self._holdout = holdout
        self._parts = parts
        self._metric: str | None = request["metric"]
        self._request = request
        self._scratch = reporter.scratch

    def against_baseline(self) -> Record:
        if self._holdout.baseline is None:
            return {"against": "baseline", "scored": False, "reason": "the holdout has no baseline predictions"}
        return {"against": "baseline", **self._duel(self._holdout, self._holdout.baseline)}

    def against(self, challenger: Contestant, champion: Contestant) -> Record:
        """On the rows that neither was trained on, if these are enough; rows it knows flatter the champion."""
        head = {"against": "champion", "number": champion.number}
        seen = self._seen(challenger, champion)
        fair = self._holdout if seen is None else self._holdout.only(np.flatnonzero(~seen))
        if not _tells_enough(fair):
            fair = self._holdout
        left_out = len(self._holdout.row) - len(fair.row)
        try:
            scores = _score_on(challenger, champion, fair, self._parts, self._scratch)
        except TidemillError as error:
            return {**head, "scored": False, "reason": reason_of(error)}
        still_seen = None if seen is None else int(seen.sum()) - left_out
        return {**head, **self._duel(fair, scores), "rows_seen_by_other": still_seen, "rows_left_out": left_out}

    def _duel(self, holdout: Holdout, other: Scores) -> Record:
        metric = _metric(holdout, self._metric, other)
        bootstrap = bootstrap_of(self._request, holdout)
        try:
            found = paired_difference(metric, holdout.truth, holdout.scores, other, bootstrap)
        except TidemillError as error:
            return {"scored": False, "reason": reason_of(error), "metric": metric}
        return {"scored": True, "row_count": len(holdout.row), **asdict(found)}

    def _seen(self, challenger: Contestant, champion: Contestant) -> npt.NDArray[np.bool_] | None:
        """Which rows the champion was trained on; known for models from here."""
        if champion.holdout is None or champion.flavor != TIDEMILL or challenger.dataset_version_id is None:
            return None
        unseen = pq.read_table(champion.holdout, columns=["row"])["row"].to_numpy()
        if challenger.dataset_version_id == champion.dataset_version_id:
            return ~np.isin(self._holdout.row, unseen)
        other_parts = [Path(part) for part in self._request.get("champion_parts", [])]
        return self._seen_before(challenger, other_parts, unseen) if other_parts and self._parts else None

    def _seen_before(
        self, challenger: Contestant, other_parts: list[Path], unseen: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_] | None:
        """By the rows' content, since two versions of a dataset mostly share rows."""
        columns = common_columns(self._parts[0], other_parts[0])
        if challenger.target not in columns:
            return None
        other = row_keys(other_parts, columns)
        learned = other[~np.isin(np.arange(len(other)), unseen)]
        return np.isin(row_keys(self._parts, columns)[self._holdout.row], learned)


def bootstrap_of(request: Record, holdout: Holdout) -> Bootstrap:
    return Bootstrap(request["resamples"], request["confidence"], request["seed"], enough_groups(holdout.group))


def _tells_enough(holdout: Holdout) -> bool:
    if len(holdout.row) < _FEWEST_ROWS:
        return False
    return holdout.task == "regression" or len(np.unique(holdout.truth)) == len(holdout.classes)


def _metric(holdout: Holdout, wanted: str | None, other: Scores) -> str:
    """The wanted metric, or the first of the task's that both sides' answers allow."""
    usable = [name for name in METRICS[holdout.task] if is_scorable(name, holdout.scores) and is_scorable(name, other)]
    return wanted if wanted in usable else usable[0]


def _score_on(host: Contestant, guest: Contestant, holdout: Holdout, parts: list[Path], scratch: Path) -> Scores:
    if (reason := unlike(host, guest)) is not None:
        raise Invalid("not_comparable", reason)
    if guest.bundle_sha256 == host.bundle_sha256:
        return holdout.scores
    if not parts:
        raise Invalid("dataset_missing", "the dataset of the holdout is not at hand")
    return guest.score(scratch, parts, holdout.row, holdout.classes)


def _differences(holdout: Holdout, first: Scores, second: Scores, request: Record) -> list[Record]:
    found = []
    for metric in METRICS[holdout.task]:
        if is_scorable(metric, first) and is_scorable(metric, second):
            try:
                difference = paired_difference(metric, holdout.truth, first, second, bootstrap_of(request, holdout))
            except Invalid:  # undefined on these rows; the others still say something
                continue
            found.append(asdict(difference))
    return found


def _finite(holdout: Holdout) -> Record:
    values = [holdout.scores.prediction]
    if holdout.scores.probabilities is not None:
        values.append(holdout.scores.probabilities)
    finite = all(bool(np.isfinite(part).all()) for part in values)
    detail = "All holdout predictions are finite" if finite else "Some holdout predictions are not finite numbers"
    return {"code": "finite_predictions", "passed": finite, "detail": detail}


def _reproduced(challenger: Contestant, parts: list[Path], holdout: Holdout, scratch: Path) -> Record:
    """Load the bundle as a model server would and predict the holdout again."""
    check = {"code": "bundle"}
    few = holdout.sample(_REPRODUCED_ROWS, seed=0)
    try:
        if not parts:
            challenger.load(scratch)
            return {**check, "passed": None, "detail": "The bundle loads; there is no dataset to predict again on"}
        again = challenger.score(scratch, parts, few.row, few.classes)
    except TidemillError as error:
        return {**check, "passed": False, "detail": f"The bundle cannot be used: {reason_of(error)}"}
    count = len(few.row)
    if _same(few.scores, again):
        return {**check, "passed": True, "detail": f"The bundle reproduces {count} holdout predictions"}
    return {**check, "passed": False, "detail": f"The bundle does not reproduce {count} stored holdout predictions"}


def _same(stored: Scores, again: Scores) -> bool:
    pairs = [(stored.prediction, again.prediction)]
    if stored.probabilities is not None and again.probabilities is not None:
        pairs = [(stored.probabilities, again.probabilities)]
    return all(np.allclose(one, two, rtol=_RELATIVE_TOLERANCE, atol=_ABSOLUTE_TOLERANCE) for one, two in pairs)


def _without_holdout(request: Record) -> Record:
    """Only for imported models, which were loaded and tried when they were registered."""
    reason = "there is no holdout"
    check: Record = {"code": "bundle", "passed": None, "detail": "There are no stored predictions to reproduce"}
    comparisons: list[Record] = [{"against": "baseline", "scored": False, "reason": reason}]
    if request["champion"] is not None:
        number = request["champion"]["number"]
        comparisons.append({"against": "champion", "number": number, "scored": False, "reason": reason})
    return {"metric": None, "checks": [check], "comparisons": comparisons}
