"""The encoded rows of every fold, made once per encoding."""

from collections.abc import Callable

import pandas as pd

from tidemill.training.columns import Features
from tidemill.training.fitting import FoldData
from tidemill.training.preprocessing import Encoding, make_encoder
from tidemill.training.splits import Rows, Split
from tidemill.training.targets import Target


def encoded_folds(
    frame: pd.DataFrame, target: Target, features: Features, split: Split
) -> Callable[[str], list[FoldData]]:
    """A function from an encoding's name to its folds. Encoders are fitted on each fold's training rows alone."""
    made: dict[str, list[FoldData]] = {}

    def folds(encoding: str) -> list[FoldData]:
        if encoding not in made:
            chosen: Encoding = "linear" if encoding == "linear" else "trees"
            made[encoding] = [_encode(frame, target, features, fold, chosen) for fold in split.folds]
        return made[encoding]

    return folds


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
