"""Answers of a registered version on rows of a dataset, made comparable with those of another version."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tidemill.adapters.bundles import unpack_bundle
from tidemill.adapters.model_loading import LoadedModel, Outputs, load_model
from tidemill.evaluation.statistics import Floats, Scores
from tidemill.kit.errors import Invalid
from tidemill.kit.labels import label_key
from tidemill.training.holdouts import positions
from tidemill.training.signature_frames import Rows, frame_for


@dataclass(frozen=True)
class Contestant:
    """A version as the worker hands it over: its row, and its bundle and holdout as local files."""

    number: int
    bundle: Path
    bundle_sha256: str
    flavor: str
    runs_code: bool
    task: str | None
    target: str | None
    classes: list[Any] | None
    signature: dict[str, Any]
    dataset_version_id: str | None
    holdout: Path | None

    @classmethod
    def from_request(cls, request: dict[str, Any]) -> "Contestant":
        holdout = request["holdout"]
        paths = {"bundle": Path(request["bundle"]), "holdout": None if holdout is None else Path(holdout)}
        return cls(**request | paths)

    def load(self, folder: Path) -> LoadedModel:
        """Unpack the bundle below ``folder``, verified, and load the model."""
        directory = folder / f"model-{self.bundle_sha256[:16]}"
        if not directory.exists():
            unpack_bundle(self.bundle, directory, self.bundle_sha256)
        return load_model(directory, self.flavor, runs_code=self.runs_code)

    def score(self, folder: Path, parts: Sequence[Path], rows: Rows, classes: tuple[Any, ...]) -> Scores:
        """Answers on ``rows`` in terms of ``classes``. Raises Invalid where the rows do not fit the model."""
        frame = frame_for(parts, rows, self.signature)
        return as_scores(self.load(folder).predict(frame), str(self.task), classes)


def unlike(one: Contestant, other: Contestant) -> str | None:
    """Why the answers of two versions cannot be compared; None if they can."""
    if one.task != other.task:
        return "it was made for another task"
    if one.target != other.target:
        return "it predicts another target"
    if one.task != "regression" and set(map(label_key, one.classes or ())) != set(map(label_key, other.classes or ())):
        return "it knows other classes"
    return None


def as_scores(outputs: Outputs, task: str, classes: tuple[Any, ...]) -> Scores:
    """Outputs of any model as numbers, or as positions and probabilities in the order of ``classes``.

    A classifier may answer with labels, with one row of probabilities each, or, for two classes, with the probability
    of the second. Raises Invalid for anything else.
    """
    if task == "regression":
        prediction = _floats(outputs.prediction)
        if prediction.ndim != 1:
            raise Invalid("model_output_shape", "The model answers with several numbers for each row.")
        return Scores(prediction)
    if outputs.probabilities is not None and outputs.classes is not None:
        order = positions(list(classes), outputs.classes).astype(np.intp)
        probabilities = _floats(outputs.probabilities)[:, order]
        return Scores(positions(_labels(outputs.prediction), classes), probabilities)
    return _of_bare(outputs, classes)


def _of_bare(outputs: Outputs, classes: tuple[Any, ...]) -> Scores:
    labels = _labels(outputs.prediction)
    if labels and not isinstance(labels[0], list):
        try:
            return Scores(positions(labels, classes))
        except Invalid:
            probabilities = _of_second_class(_floats(labels), classes)
    else:
        probabilities = _floats(labels)
    if probabilities.ndim != 2 or probabilities.shape[1] != len(classes):
        raise Invalid("model_output_shape", "The model answers neither with labels nor with one probability per class.")
    return Scores(probabilities.argmax(axis=1).astype(np.float64), probabilities)


def _of_second_class(values: Floats, classes: tuple[Any, ...]) -> Floats:
    if len(classes) != 2 or not ((values >= 0) & (values <= 1)).all():
        raise Invalid("label_unknown", "The model answers with labels that are none of the classes.")
    return np.column_stack([1 - values, values])


def _labels(prediction: Any) -> list[Any]:
    return list(prediction.tolist() if hasattr(prediction, "tolist") else prediction)


def _floats(values: Any) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise Invalid("model_output_type", "The model's answers are not numbers.") from None
