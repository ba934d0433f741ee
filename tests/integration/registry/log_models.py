"""Logs one model of each sort to the server of MLFLOW_TRACKING_URI and prints their ids as JSON. Run as a script."""

import json
import os
import sys
import warnings
from typing import Any

import lightgbm
import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression

from tests.integration.registry.trained import people


class Doubler(mlflow.pyfunc.PythonModel):
    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        return model_input["age"] * 2


def main() -> None:
    warnings.simplefilter("ignore")
    frame = people().fillna({"age": 40.0})
    x, y = frame[["age", "noise"]], frame["good"]
    forest = RandomForestClassifier(20, max_depth=5, random_state=0).fit(x[:400], y[:400])
    signature = infer_signature(x, forest.predict(x))
    fast: dict[str, Any] = {"pip_requirements": ["scikit-learn"], "signature": signature}
    ids: dict[str, str] = {}
    with mlflow.start_run() as run:
        logged = mlflow.sklearn.log_model(
            forest, name="forest", serialization_format="skops", input_example=x[:3], registered_model_name="forest",
            skops_trusted_types=["sklearn.tree._tree.Tree", "numpy.dtype"], **fast,
        )  # fmt: skip
        ids |= {"run": run.info.run_id, "skops": logged.model_id}
    ids["pickle"] = mlflow.sklearn.log_model(
        forest, name="pickled", serialization_format="cloudpickle", **fast
    ).model_id
    booster = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(x[:400], y[:400] == "yes"), 10)
    ids["booster"] = mlflow.lightgbm.log_model(
        booster, name="booster", signature=infer_signature(x, np.asarray(booster.predict(x))), input_example=x[:3],
        pip_requirements=["lightgbm"],
    ).model_id  # fmt: skip
    age = frame[["age"]]
    ids["python"] = mlflow.pyfunc.log_model(
        name="doubler", python_model=Doubler(), signature=infer_signature(age, age["age"]), pip_requirements=["pandas"]
    ).model_id
    line = LinearRegression().fit(x, x["age"])
    bare = mlflow.sklearn.log_model(line, name="bare", serialization_format="skops", pip_requirements=["scikit-learn"])
    ids["unsigned"] = bare.model_id
    mlflow.MlflowClient().set_registered_model_alias("forest", "best", "1")
    sys.stdout.write(json.dumps(ids))


if __name__ == "__main__":
    assert os.environ["MLFLOW_TRACKING_URI"].startswith("http://127.0.0.1")
    main()
