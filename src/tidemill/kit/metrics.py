"""Names of metrics and which are errors: all that the processes without numeric libraries need to know of them."""

from difflib import get_close_matches

from tidemill.kit.errors import Invalid, Problem

METRICS: dict[str, tuple[str, ...]] = {
    "binary": ("roc_auc", "average_precision", "log_loss", "brier", "accuracy", "balanced_accuracy", "f1"),
    "multiclass": ("roc_auc", "log_loss", "accuracy", "balanced_accuracy", "f1_macro"),
    "regression": ("rmse", "mae", "r2"),
}
"""What can be measured, per task; the first one when nobody chose."""
ALL_METRICS = tuple(dict.fromkeys(name for names in METRICS.values() for name in names))
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "rmse", "mae"})


def higher_is_better(metric: str) -> bool:
    return metric not in LOWER_IS_BETTER


def check_metric(metric: str, task: str | None = None) -> None:
    """Raise Invalid (``metric_unfit``) unless ``metric`` is one of the task's, or of any task's without one."""
    known = METRICS[task] if task is not None else ALL_METRICS
    if metric in known:
        return
    near = get_close_matches(metric, known, n=1, cutoff=0.6)
    hint = f" Did you mean {near[0]}?" if near else ""
    whose = f" of a {task} task" if task is not None else ""
    detail = f"Metrics{whose} are: {', '.join(known)}.{hint}"
    raise Invalid("metric_unfit", detail, [Problem("/metric", "metric_unfit", detail)])
