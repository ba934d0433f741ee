"""Small trained models with holdouts, as training leaves them in the object store."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import skops.io
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from tidemill.adapters.bundles import PackedBundle, bundle_key, pack_bundle
from tidemill.adapters.object_store import ObjectStore
from tidemill.evaluation.statistics import Scores
from tidemill.kit.hashing import sha256_of_file
from tidemill.training.holdouts import Holdout, positions, write_holdout

ROWS = 600
HOLDOUT = np.arange(400, ROWS)
CLASSES = ("no", "yes")


def people(seed: int = 0) -> pd.DataFrame:
    """Who repays a loan depends on age and town; ``noise`` says nothing."""
    generator = np.random.default_rng(seed)
    age = generator.normal(40, 10, ROWS)
    town = generator.choice(["Ulm", "Bonn", "Kiel"], ROWS)
    logit = (age - 40) / 6 + 1.5 * (town == "Ulm") + generator.normal(0, 0.7, ROWS)
    age[::50] = np.nan
    frame = pd.DataFrame({"age": age, "town": town, "noise": generator.normal(0, 1, ROWS)})
    return frame.assign(good=np.where(logit > 0, "yes", "no"))


@dataclass
class Trained:
    """A fitted pipeline on some columns."""

    columns: tuple[str, ...]
    pipeline: Any
    frame: pd.DataFrame
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def signature(self) -> dict[str, Any]:
        types = {"age": "double", "noise": "double", "town": "string"}
        inputs = [{"name": name, "type": types[name], "required": True} for name in self.columns]
        return {"inputs": inputs, "outputs": [], "params": []}

    def holdout(self) -> Holdout:
        rows = self.frame.iloc[HOLDOUT]
        probabilities = self.pipeline.predict_proba(rows[list(self.columns)])
        prior = (self.frame["good"].iloc[:400] == "yes").mean()
        naive = Scores(np.full(len(rows), float(prior > 0.5)), np.tile([1 - prior, prior], (len(rows), 1)))
        scores = Scores(probabilities.argmax(axis=1).astype(float), probabilities)
        return Holdout("binary", CLASSES, HOLDOUT, positions(rows["good"].tolist(), CLASSES), scores, naive)

    def save(self, folder: Path, name: str) -> tuple[PackedBundle, Path]:
        """A bundle and a holdout file below ``folder``."""
        directory = folder / name
        directory.mkdir(parents=True)
        skops.io.dump(self.pipeline, directory / "model.skops")
        write_holdout(folder / f"{name}.parquet", self.holdout())
        return pack_bundle(directory, folder / f"{name}.tar"), folder / f"{name}.parquet"


def train(frame: pd.DataFrame, *columns: str, model: BaseEstimator | None = None) -> Trained:
    numbers = [name for name in columns if name != "town"]
    steps: list[tuple[Any, list[str]]] = [(SimpleImputer(), numbers)] if numbers else []
    if "town" in columns:
        steps.append((OneHotEncoder(handle_unknown="ignore"), ["town"]))
    pipeline = make_pipeline(make_column_transformer(*steps), model or LogisticRegression())
    train_rows = frame.iloc[:400]
    return Trained(columns, pipeline.fit(train_rows[list(columns)], train_rows["good"]), frame)


def useless(frame: pd.DataFrame) -> Trained:
    return train(frame, "noise", model=DummyClassifier())


def write_parts(frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Two parts, cut inside the holdout."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, piece in enumerate((frame.iloc[:450], frame.iloc[450:])):
        paths.append(folder / f"part-{number:05d}.parquet")
        pq.write_table(pa.Table.from_pandas(piece, preserve_index=False), paths[-1])
    return paths


async def upload(store: ObjectStore, trained: Trained, folder: Path, name: str) -> dict[str, Any]:
    """Put bundle and holdout into the store; gives what a registration says about them."""
    bundle, holdout = trained.save(folder, name)
    await store.upload(bundle_key(bundle.sha256), bundle.path)
    holdout_key = f"holdouts/{sha256_of_file(holdout)}.parquet"
    await store.upload(holdout_key, holdout)
    return {
        "bundle_sha256": bundle.sha256,
        "bundle_size_bytes": bundle.size_bytes,
        "holdout_key": holdout_key,
        "signature": trained.signature,
        "classes": list(CLASSES),
    }
