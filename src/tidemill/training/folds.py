"""The encoded rows of every fold, made once per encoding."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from tidemill.evaluation.resampling import Bootstrap, enough_groups
from tidemill.training.columns import Features
from tidemill.training.fitting import VALIDATION_RESAMPLES, FoldData
from tidemill.training.preprocessing import Encoding, make_encoder
from tidemill.training.splits import Rows, Split
from tidemill.training.targets import Target


def encoded_folds(
    frame: pd.DataFrame,
    target: Target,
    features: Features,
    split: Split,
    groups: npt.NDArray[np.int64] | None = None,
) -> Callable[[str], list[FoldData]]:
    """A function from an encoding's name to its folds. Encoders are fitted on each fold's training rows alone.

    ``groups``: a number a row; rows of the same number are resampled together.
    """
    made: dict[str, list[FoldData]] = {}
    bootstraps = [_bootstrap(number, fold, groups) for number, fold in enumerate(split.folds)]

    def folds(encoding: str) -> list[FoldData]:
        if encoding not in made:
            chosen: Encoding = "linear" if encoding == "linear" else "trees"
            made[encoding] = [
                replace(_encode(frame, target, features, fold, chosen), bootstrap=bootstrap)
                for fold, bootstrap in zip(split.folds, bootstraps, strict=True)
            ]
        return made[encoding]

    return folds


def _bootstrap(number: int, fold: tuple[Rows, Rows], groups: npt.NDArray[np.int64] | None) -> Bootstrap:
    of_rows = None if groups is None else enough_groups(groups[fold[1]])
    return Bootstrap(VALIDATION_RESAMPLES, seed=number, groups=of_rows)


def _encode(
    frame: pd.DataFrame, target: Target, features: Features, fold: tuple[Rows, Rows], encoding: Encoding
) -> FoldData:
    train, validation = fold
    encoder = make_encoder(features, encoding)
    return FoldData(
        train=encoder.fit_transform(frame.iloc[train]),
        train_target=target.codes[train],
        validation=encoder.transform(frame.iloc[validation]),
        validation_target=target.codes[validation],
    )
