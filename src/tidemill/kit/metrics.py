"""Which metrics of models are errors: all that the processes without numeric libraries need to know of them."""

LOWER_IS_BETTER = frozenset({"log_loss", "brier", "rmse", "mae"})


def higher_is_better(metric: str) -> bool:
    return metric not in LOWER_IS_BETTER
