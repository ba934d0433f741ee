"""The figures of a report as PNG files, drawn from the same data that the report holds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_DPI = 110
_INK, _ACCENT, _FAINT = "#1f2933", "#0b6e99", "#b8c4ce"
_MAX_BARS = 20
_MAX_CLASSES_NAMED = 20
_MAX_LABEL_CHARACTERS = 28

Data = dict[str, Any]


def draw_figures(data: Data, folder: Path) -> list[str]:
    """Draw every figure there is data for into ``folder`` and return their names (``roc.png``)."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for name, draw in _DRAWERS.items():
        if name in data:
            figure = Figure(figsize=(6.4, 4.8), layout="constrained")
            FigureCanvasAgg(figure)
            draw(figure, data[name])
            figure.savefig(folder / f"{name}.png", dpi=_DPI, metadata={"Software": None})
            names.append(f"{name}.png")
    return names


def _axes(figure: Figure, title: str, x: str, y: str) -> Axes:
    axes: Axes = figure.add_subplot()
    _label(axes, title, x, y)
    return axes


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, color=_INK, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)


def _roc(figure: Figure, data: Data) -> None:
    axes = _axes(figure, "ROC curve on the holdout", "False positive rate", "True positive rate")
    for curve in data["curves"]:
        axes.plot(curve["false_positive_rate"], curve["true_positive_rate"], label=_short(curve["class"]))
    axes.plot([0, 1], [0, 1], color=_FAINT, linestyle="--", label="chance")
    axes.legend(frameon=False, title="class")


def _precision_recall(figure: Figure, data: Data) -> None:
    axes = _axes(figure, "Precision and recall on the holdout", "Recall", "Precision")
    for curve in data["curves"]:
        line = axes.plot(curve["recall"], curve["precision"], label=_short(curve["class"]))[0]
        axes.axhline(curve["share_positive"], color=line.get_color(), linestyle=":", linewidth=1)
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False, title="class (dotted: its share)")


def _calibration(figure: Figure, data: Data) -> None:
    error, of = data["expected_calibration_error"], data["of"]
    named = of if data.get("class") is None else f"{of}, {_short(data['class'])}"
    axes = _axes(
        figure,
        f"Calibration on the holdout (ECE {error:.3f})",
        f"Mean probability of the {named}",
        "Observed share",
    )
    axes.plot([0, 1], [0, 1], color=_FAINT, linestyle="--", label="perfect")
    axes.plot(data["mean_probability"], data["observed_share"], color=_ACCENT, marker="o", label="model")
    axes.legend(frameon=False)


def _confusion(figure: Figure, data: Data) -> None:
    axes = figure.add_subplot()
    matrix = np.asarray(data["matrix"], dtype=np.float64)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_title("Confusion on the holdout", color=_INK, loc="left")
    axes.set_xlabel("Predicted")
    axes.set_ylabel("True")
    if len(matrix) > _MAX_CLASSES_NAMED:
        return
    names = [_short(label) for label in data["classes"]]
    slanted: Data = {"rotation": 45, "ha": "right"} if len(names) > 3 else {}
    axes.set_xticks(range(len(names)), names, **slanted)
    axes.set_yticks(range(len(names)), names)
    for row, column in np.ndindex(*matrix.shape):
        color = "white" if shares[row, column] > 0.5 else _INK
        axes.text(column, row, f"{int(matrix[row, column])}", ha="center", va="center", color=color)


def _residuals(figure: Figure, data: Data) -> None:
    left, right = figure.subplots(1, 2)
    _label(left, "Holdout: true and predicted", "True", "Predicted")
    left.scatter(data["truth"], data["prediction"], s=6, alpha=0.4, color=_ACCENT)
    ends = [min(data["truth"]), max(data["truth"])]
    left.plot(ends, ends, color=_FAINT, linestyle="--")
    _label(right, "Residuals", "True minus predicted", "Rows")
    edges = np.asarray(data["histogram"]["edges"])
    right.bar(edges[:-1], data["histogram"]["counts"], width=np.diff(edges), align="edge", color=_ACCENT)


def _importance(figure: Figure, data: Data) -> None:
    shown = data["columns"][:_MAX_BARS][::-1]
    axes = _axes(figure, "Permutation importance on the holdout", f"Loss of {data['metric']} when shuffled", "")
    values = [one["value"] for one in shown]
    ends = np.abs(np.array([[one["value"] - one["low"], one["high"] - one["value"]] for one in shown]).T)
    axes.barh([_short(one["column"]) for one in shown], values, xerr=ends, color=_ACCENT, ecolor=_INK)


def _short(label: Any) -> str:
    # A dollar sign would begin a formula.
    text = str(label).replace("$", r"\$")
    return text if len(text) <= _MAX_LABEL_CHARACTERS else text[: _MAX_LABEL_CHARACTERS - 1] + "…"


_DRAWERS: dict[str, Callable[[Figure, Data], None]] = {
    "roc": _roc,
    "precision_recall": _precision_recall,
    "calibration": _calibration,
    "confusion": _confusion,
    "residuals": _residuals,
    "importance": _importance,
}
