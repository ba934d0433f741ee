"""What a file keeps of how it was fitted decides nothing on the machine that serves it; its answers stay the same."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.decomposition import SparseCoder
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from tidemill.adapters.data_models import load_skops
from tidemill.adapters.predict_settings import StrangeSettings

pytestmark = pytest.mark.filterwarnings("ignore")
X = np.random.default_rng(0).normal(size=(60, 3))
Y = np.digitize(X[:, 0], [-0.5, 0.5])
MUCH = 10**6


def _with(model: Any, **attributes: Any) -> Any:
    vars(model).update(attributes)
    return model


def _boosted(**parameters: Any) -> Any:
    return LGBMClassifier(n_estimators=3, min_child_samples=2, verbose=-1, **parameters).fit(X, Y)


ENDING: dict[str, Callable[[], Any]] = {
    "fewer threads than none": lambda: _with(MiniBatchKMeans(2).fit(X), _n_threads=-1),
    "fewer threads than none, of all rows": lambda: _with(KMeans(2).fit(X), _n_threads=-(2**31)),
    "threads that are text": lambda: _with(KMeans(2).fit(X), _n_threads="many"),
    "more jobs than parts": lambda: _with(SparseCoder(X[:3]), n_jobs=2**40),
    "more jobs than cores": lambda: _with(KNeighborsClassifier(algorithm="brute").fit(X, Y), n_jobs=MUCH),
    "more jobs of several models": lambda: _with(
        VotingClassifier([("a", LogisticRegression()), ("b", LogisticRegression())]).fit(X, Y), n_jobs=MUCH
    ),
    "boosting by more threads than there can be": lambda: _with(_boosted(), n_jobs=MUCH),
    "boosting by threads of another name": lambda: _with(
        _boosted(), num_threads=MUCH, _other_params={"num_threads": MUCH}
    ),
    "boosting by threads within a text": lambda: _with(_boosted(), boosting_type=f"gbdt num_threads={MUCH}"),
}


def test_numbers_beyond_sense_end_no_process(tmp_path: Path) -> None:
    """In one process of their own: each alone ended it, or ran for ever."""
    for number, make in enumerate(ENDING.values()):
        skops.io.dump(make(), tmp_path / f"{number}.skops")
    np.save(tmp_path / "rows.npy", np.tile(X, (30, 1)))
    code = (
        "import sys; from pathlib import Path; import numpy as np; folder = Path(sys.argv[1])\n"
        "from tidemill.adapters.data_models import load_skops\n"
        "rows = np.load(folder / 'rows.npy')\n"
        "for number in range(int(sys.argv[2])):\n"
        "    model = load_skops(folder / f'{number}.skops')\n"
        "    (model.predict if hasattr(model, 'predict') else model.transform)(rows)\n"
        "    print(number, flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path), str(len(ENDING))],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "OMP_NUM_THREADS": "2"},
    )  # fmt: skip
    assert done.stdout.split() == [str(number) for number in range(len(ENDING))], done.stderr[-500:]
    assert done.returncode == 0


STRANGE: dict[str, Callable[[], Any]] = {
    "checks taken away": lambda: _with(
        _boosted(), predict_disable_shape_check=True, _other_params={"predict_disable_shape_check": True}
    ),
    "another parameter within the objective": lambda: _with(
        _boosted(), _objective="binary predict_disable_shape_check=true"
    ),
    "an objective that is a list": lambda: _with(_boosted(), _objective=["binary"]),
    "classes that are text": lambda: _with(_boosted(), _n_classes="3 num_threads=9"),
    "classes beyond sense": lambda: _with(_boosted(), _n_classes=2**40),
    "places of a ranking": lambda: _with(_boosted(), _eval_at="1 num_threads=9"),
    "parameters that are a list": lambda: _with(_boosted(), _other_params=["num_threads"]),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_would_have_the_library_predict_otherwise_is_not_loaded(name: str, tmp_path: Path) -> None:
    skops.io.dump(STRANGE[name](), tmp_path / "model.skops")
    with pytest.raises(StrangeSettings):
        load_skops(tmp_path / "model.skops")


@pytest.mark.parametrize(
    "model",
    [
        lambda: _boosted(path_smooth=0.5, num_threads=2, class_weight="balanced"),
        lambda: _boosted(objective="multiclassova", n_jobs=1),
        lambda: LGBMRegressor(n_estimators=3, objective="poisson", verbose=-1, linear_tree=True).fit(X, Y),
        lambda: KNeighborsClassifier(algorithm="brute", n_jobs=-1).fit(X, Y),
        lambda: MiniBatchKMeans(2).fit(X),
    ],
)
def test_answers_stay_the_same_to_the_last_digit(model: Callable[[], Any], tmp_path: Path) -> None:
    fitted = model()
    skops.io.dump(fitted, tmp_path / "model.skops")
    loaded = load_skops(tmp_path / "model.skops")
    for name in ("predict", "predict_proba"):
        if hasattr(fitted, name):
            assert np.array_equal(getattr(loaded, name)(X), getattr(fitted, name)(X))
