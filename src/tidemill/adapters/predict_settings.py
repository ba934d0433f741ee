"""How a loaded model computes: with the threads of the machine that serves it, and as its library's defaults have it.

Estimators keep how many threads they were fitted with, and LightGBM's every parameter they were given; both go to
compiled code with each prediction. There a number beyond sense ends the process, and a parameter of LightGBM can take
its own checks away. None of them is needed for the same answers.
"""
# ruff: noqa: SLF001 - what fitted estimators keep is private to their libraries

import importlib
import os
import re
from collections.abc import Iterable
from numbers import Integral
from typing import Any

_OBJECTIVE = re.compile("[a-z0-9_]{1,50}")
"""Parameters are handed on as one text, in which a blank would begin the next one."""
_OF_PREDICTION = "pred"
"""How the names of parameters begin that only predictions look at."""


class StrangeSettings(Exception):
    """What the model keeps would change how its library predicts."""


def settle(parts: Iterable[Any]) -> None:
    """``parts``: everything that a model holds. Raises StrangeSettings."""
    one_thread = (
        importlib.import_module("sklearn.ensemble._forest").BaseForest,
        importlib.import_module("sklearn.ensemble").IsolationForest,
    )
    means = importlib.import_module("sklearn.cluster._kmeans")._BaseKMeans
    for part in parts:
        if _is_of_lightgbm(part):
            _settle_lightgbm(part)
        if isinstance(part, one_thread):
            # A forest adds up its trees as its threads get there, so that the same rows would get answers that differ
            # in the last digit; with one thread they are added in the trees' order.
            part.n_jobs = 1
        if isinstance(part, means):
            helpers = importlib.import_module("sklearn.utils._openmp_helpers")
            part._n_threads = helpers._openmp_effective_n_threads()
        kept = getattr(part, "__dict__", None)
        if isinstance(kept, dict) and not _is_of_this_machine(kept.get("n_jobs")):
            part.n_jobs = None


def _is_of_lightgbm(part: Any) -> bool:
    return type(part).__module__ == "lightgbm.sklearn"


def _settle_lightgbm(model: Any) -> None:
    kept, number = vars(model), vars(model).get("_n_classes", 1)
    objective, others = kept.get("_objective"), kept.get("_other_params", {})
    if not isinstance(others, dict) or any(str(name).startswith(_OF_PREDICTION) for name in (*others, *kept)):
        raise StrangeSettings
    if not (objective is None or (isinstance(objective, str) and _OBJECTIVE.fullmatch(objective))):
        raise StrangeSettings
    if not isinstance(number, Integral) or not -1 <= int(number) < 2**31 or "_eval_at" in kept:
        raise StrangeSettings
    threads = kept.get("n_jobs")
    for name in others:
        kept.pop(name, None)
    kept.update(type(model)().get_params(), _other_params={})
    model.n_jobs = threads if isinstance(threads, Integral) else None


def _is_of_this_machine(threads: Any) -> bool:
    return threads is None or (isinstance(threads, Integral) and abs(int(threads)) <= (os.cpu_count() or 1))
