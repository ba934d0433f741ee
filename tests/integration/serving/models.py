"""Small real models, packed and registered as the platform does it."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from tidemill.adapters.bundles import PackedBundle, bundle_key, pack_bundle
from tidemill.adapters.object_store import ObjectStore
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.registry import ModelVersion
from tidemill.features.registry import service as registry
from tidemill.features.registry.service import NewModelVersion
from tidemill.kit import ids

PERSON = {
    "inputs": [
        {"name": "age", "type": "long", "required": True},
        {"name": "hours", "type": "double", "required": True},
        {"name": "town", "type": "string", "required": False},
    ],
    "outputs": [],
    "params": [],
}
ROWS = [
    {"age": 25, "hours": 20.5, "town": "Ulm"},
    {"age": 61, "hours": 60, "town": None},
    {"age": 43, "hours": None, "town": "Bonn"},
]


def classifier() -> Pipeline:
    """Trained on a few people; takes missing values."""
    frame = pd.DataFrame(
        {"age": [20, 30, 40, 50, 60, 70] * 5, "hours": np.linspace(10, 60, 30), "town": ["Ulm", "Bonn", None] * 10}
    )
    labels = np.where(frame["age"] + frame["hours"] > 80, "rich", "poor")
    columns = ColumnTransformer([("town", OneHotEncoder(handle_unknown="ignore"), ["town"])], remainder="passthrough")

    return Pipeline([("columns", columns), ("fill", SimpleImputer()), ("model", LogisticRegression())]).fit(
        frame, labels
    )


def constant(value: float) -> Pipeline:
    """Always answers ``value``, so that an answer tells which version gave it."""
    frame = pd.DataFrame({"age": [1, 2], "hours": [1.0, 2.0], "town": ["a", "b"]})
    return Pipeline([("model", DummyRegressor(strategy="constant", constant=value))]).fit(frame, [0.0, 1.0])


def pack(pipeline: Any, folder: Path) -> PackedBundle:
    with tempfile.TemporaryDirectory(dir=folder) as directory:
        skops.io.dump(pipeline, Path(directory) / "model.skops")
        return pack_bundle(Path(directory), folder / f"{ids.uuid7().hex}.tar")


class Models:
    """Registers real models in the test's database and object store."""

    def __init__(self, sessions: SessionFactory, store: ObjectStore, folder: Path) -> None:
        self.sessions = sessions
        self.store = store
        self._folder = folder / "packing"
        self._folder.mkdir()

    async def register(self, name: str, pipeline: Any, **changes: Any) -> ModelVersion:
        bundle = pack(pipeline, self._folder)
        await self.store.upload(bundle_key(bundle.sha256), bundle.path)
        return await self.register_bundle(name, bundle.sha256, bundle.size_bytes, **changes)

    async def register_bundle(self, name: str, sha256: str, size_bytes: int, **changes: Any) -> ModelVersion:
        values: dict[str, Any] = {
            "model_name": name,
            "created_by": "key_maker",
            "job_id": ids.new_id(ids.JOB),
            "flavor": "tidemill",
            "signature": PERSON,
            "bundle_sha256": sha256,
            "bundle_size_bytes": size_bytes,
            "task": "regression",
        }
        async with transaction(self.sessions) as session:
            return await registry.register_version(session, NewModelVersion(**values | changes))

    async def point(self, name: str, alias: str, number: int) -> None:
        async with transaction(self.sessions) as session:
            model = await registry.get_model(session, name)
            await registry.move_alias(session, model, alias, number, registry.Cause("tests", "moved by a test"))
