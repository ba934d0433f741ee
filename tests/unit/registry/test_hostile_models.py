"""A model that nobody allowed to run code runs none, whatever its directory says; an honest one needs no permission."""

import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression

from tests.unit.registry.hostile import BAD_DESCRIPTIONS, HOSTILE, Attempt, Hostile
from tests.unit.registry.hostile_files import FILES
from tests.unit.training.tables import SilentReporter
from tidemill.adapters.bundles import pack_bundle
from tidemill.adapters.model_loading import PYFUNC, load_model
from tidemill.kit.errors import Forbidden, TidemillError
from tidemill.model_server.runtimes.child import ChildRuntime, ModelOrder
from tidemill.training.adoption import adopt
from tidemill.training.scoring import Contestant

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow warns of its own types when it is imported
    import mlflow.lightgbm
    import mlflow.pyfunc
    import mlflow.sklearn
    from mlflow.models import infer_signature

pytestmark = pytest.mark.filterwarnings("ignore")
_RNG = np.random.default_rng(0)
X = pd.DataFrame({"age": _RNG.normal(40, 10, 200), "hours": _RNG.integers(0, 60, 200)})
LABELS = np.where(X["age"] > 40, "old", "young")
TYPES = ["collections.OrderedDict", "lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier", "numpy.dtype",
         "sklearn.tree._tree.Tree"]  # fmt: skip


def _save_sklearn(model: Any, path: Path, outputs: Any, **more: Any) -> None:
    mlflow.sklearn.save_model(
        model, str(path), serialization_format="skops", skops_trusted_types=TYPES, input_example=X[:3],
        signature=infer_signature(X, outputs), pip_requirements=["scikit-learn"], **more,
    )  # fmt: skip


def _save_lightgbm(model: Any, path: Path, **more: Any) -> None:
    mlflow.lightgbm.save_model(
        model, str(path), input_example=X[:3], signature=infer_signature(X, model.predict(X)),
        pip_requirements=["lightgbm"], **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for each sort of model that is data only, as MLflow saves it."""
    folder = tmp_path_factory.mktemp("honest")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forest = RandomForestClassifier(3, max_depth=3, random_state=0).fit(X, LABELS)
        _save_sklearn(forest, folder / "skops", LABELS)
        chances = forest.predict_proba(X)
        _save_sklearn(forest, folder / "chances", chances, pyfunc_predict_fn="predict_proba", metadata={"by": "us"})
        _save_sklearn(LinearRegression().fit(X, X["age"]), folder / "line", X["age"])
        data = lightgbm.Dataset(X, LABELS == "old")
        _save_lightgbm(lightgbm.train({"objective": "binary", "verbose": -1}, data, 3), folder / "booster")
        trees = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(X, LABELS)
        _save_lightgbm(trees, folder / "trees", serialization_format="skops", skops_trusted_types=TYPES)
    return folder


@pytest.fixture
def attempt(honest: Path, tmp_path: Path) -> Callable[[str], Attempt]:
    def copy(base: str) -> Attempt:
        directory = tmp_path / "in" / "model"
        shutil.copytree(honest / base, directory)
        return Attempt(directory, tmp_path / "canary")

    return copy


def _adopt(directory: Path, output: Path, *, allow_pickle: bool = False) -> dict[str, Any]:
    output.mkdir()
    request = {"directory": str(directory), "output": str(output), "allow_pickle": allow_pickle, "evaluation": None}
    return adopt(request, SilentReporter())


@pytest.mark.parametrize("case", [*HOSTILE, *FILES], ids=lambda case: case.name)
def test_no_directory_runs_code_without_permission(
    case: Hostile, attempt: Callable[[str], Attempt], tmp_path: Path
) -> None:
    tried = attempt(case.base)
    case.spoil(tried)
    paths = list(sys.path)
    for load in (lambda: load_model(tried.directory, PYFUNC), lambda: _adopt(tried.directory, tmp_path / "output")):
        with pytest.raises(TidemillError) as refused:
            load()
        assert refused.value.code == case.code, refused.value
        assert not tried.canary.exists()
        assert sys.path == paths


def test_the_corpus_would_run_code_if_it_were_allowed(attempt: Callable[[str], Attempt]) -> None:
    tried = attempt("skops")
    HOSTILE[0].spoil(tried)
    with pytest.raises(TidemillError):  # what it unpickles is no model
        load_model(tried.directory, PYFUNC, runs_code=True).predict(X)
    assert tried.canary.exists()


@pytest.mark.parametrize(
    ("spoil", "code"), [case[1:] for case in BAD_DESCRIPTIONS], ids=[c[0] for c in BAD_DESCRIPTIONS]
)
def test_a_description_that_cannot_be_read_is_refused(
    spoil: Callable[[Attempt], Any], code: str, attempt: Callable[[str], Attempt], tmp_path: Path
) -> None:
    tried = attempt("skops")
    spoil(tried)
    with pytest.raises(TidemillError) as refused:
        _adopt(tried.directory, tmp_path / "output")
    assert refused.value.code == code
    assert not tried.canary.exists()


FRAMES = {
    "as trained": X[:20],
    "in another order": X[:20][["hours", "age"]],
    "with a column more": X[:20].assign(more=1),
    "with smaller numbers": X[:20].astype({"hours": "int32"}),
    "a single row": X[:1],
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
@pytest.mark.parametrize("sort", ["skops", "chances", "line", "booster", "trees"])
def test_an_honest_model_predicts_as_mlflow_does(honest: Path, sort: str, frame: pd.DataFrame) -> None:
    ours = load_model(honest / sort, PYFUNC)
    theirs = mlflow.pyfunc.load_model(str(honest / sort))
    outputs = ours.predict(frame)
    np.testing.assert_array_equal(np.asarray(outputs.prediction), theirs.predict(frame))
    raw = theirs.get_raw_model()
    if sort in ("skops", "trees"):
        assert outputs.classes == ("old", "young")
        np.testing.assert_array_equal(outputs.probabilities, raw.predict_proba(X[["age", "hours"]][: len(frame)]))
    else:
        assert outputs.probabilities is None


@pytest.mark.parametrize("sort", ["skops", "booster"])
def test_rows_that_do_not_fit_the_signature_are_refused_as_mlflow_does(honest: Path, sort: str) -> None:
    ours = load_model(honest / sort, PYFUNC)
    theirs = mlflow.pyfunc.load_model(str(honest / sort))
    for frame in (X[["age"]], X.astype({"hours": "float64"}), X.astype({"age": "str"})):
        with pytest.raises(Exception):  # noqa: B017, PT011 - MLflow's
            theirs.predict(frame)
        with pytest.raises(TidemillError) as refused:
            ours.predict(frame)
        assert refused.value.code == "model_failed"


@pytest.mark.parametrize("sort", ["skops", "chances", "line", "booster", "trees"])
@pytest.mark.parametrize("allow_pickle", [False, True])
def test_an_honest_model_is_adopted_and_needs_no_permission(
    honest: Path, sort: str, allow_pickle: bool, tmp_path: Path
) -> None:
    found = _adopt(honest / sort, tmp_path / "output", allow_pickle=allow_pickle)
    assert (found["runs_code"], found["warnings"]) == (False, [])


def test_files_that_describe_an_environment_are_never_acted_upon(
    attempt: Callable[[str], Attempt], tmp_path: Path
) -> None:
    tried = attempt("skops")
    for name in ("requirements.txt", "conda.yaml", "python_env.yaml"):
        tried.code(name)
    tried.edit(python_function={"env": {"conda": "../../conda.yaml", "virtualenv": "python_env.yaml"}})
    assert not _adopt(tried.directory, tmp_path / "output")["runs_code"]
    assert not tried.canary.exists()


def test_a_version_without_permission_is_scored_as_data_only(attempt: Callable[[str], Attempt], tmp_path: Path) -> None:
    tried = attempt("skops")
    HOSTILE[0].spoil(tried)
    bundle = pack_bundle(tried.directory, tmp_path / "bundle.tar")
    version = Contestant(
        number=1, bundle=bundle.path, bundle_sha256=bundle.sha256, flavor=PYFUNC, runs_code=False, task=None,
        target=None, classes=None, signature={}, dataset_version_id=None, holdout=None,
    )  # fmt: skip
    with pytest.raises(Forbidden):
        version.load(tmp_path)
    assert not tried.canary.exists()


async def test_a_model_server_loads_a_version_without_permission_as_data_only(
    attempt: Callable[[str], Attempt], honest: Path
) -> None:
    tried = attempt("skops")
    HOSTILE[0].spoil(tried)
    types = {"age": "double", "hours": "long"}
    with pytest.raises(Forbidden) as refused:
        await ChildRuntime.load(ModelOrder(tried.directory, PYFUNC, types, timeout_seconds=20))
    assert refused.value.code == "pickle_not_allowed"
    assert not tried.canary.exists()
    runtime = await ChildRuntime.load(ModelOrder(honest / "skops", PYFUNC, types, timeout_seconds=20))
    try:
        answer = await runtime.predict({"age": [70.0], "hours": [10]}, None)
        assert (answer.prediction, answer.classes) == (["old"], ("old", "young"))
    finally:
        await runtime.close()
