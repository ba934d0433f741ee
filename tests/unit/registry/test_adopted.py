"""What a child says of a model that it adopted: kept is only what fits a version, since its code may have said it."""

from typing import Any

import pytest

from tidemill.features.registry.adopted import Adoption, Scored, Weighed
from tidemill.jobs.returned import returned_record
from tidemill.kit.errors import Invalid

_INTERVAL = {"value": 0.5, "low": 0.4, "high": 0.6}
HONEST: dict[str, Any] = {
    "signature": {
        "inputs": [{"name": "a", "type": "double", "required": True}],
        "outputs": [{"type": "tensor", "tensor-spec": {"dtype": "str", "shape": [-1]}}],
        "params": [{"name": "p", "type": "long", "default": 1, "shape": None}],
    },
    "warnings": [{"code": "no_input_example", "severity": "info", "detail": "none"}],
    "runs_code": True,
    "bundle": {"path": "/x/bundle.tar", "sha256": "0" * 64, "size_bytes": 1},
    "task": "binary",
    "target": "y",
    "classes": ["a", "b"],
    "metrics": {"roc_auc": _INTERVAL},
    "metric": "roc_auc",
    "holdout": "/x/holdout.parquet",
}
_SIGNATURE = HONEST["signature"]
LIES: dict[str, dict[str, Any]] = {
    "a member more": {"code_allowed_by": "somebody"},
    "a signature that is a list": {"signature": []},
    "columns that are numbers": {"signature": _SIGNATURE | {"inputs": [1]}},
    "no columns": {"signature": _SIGNATURE | {"inputs": []}},
    "a name twice": {"signature": _SIGNATURE | {"inputs": _SIGNATURE["inputs"] * 2}},
    "a parameter without a name": {"signature": _SIGNATURE | {"params": [{"type": "long"}]}},
    "NUL in a name": {"signature": _SIGNATURE | {"inputs": [{"name": "\0", "type": "double", "required": True}]}},
    "half a pair in the outputs": {"signature": _SIGNATURE | {"outputs": ["\ud800"]}},
    "NaN in the outputs": {"signature": _SIGNATURE | {"outputs": [float("nan")]}},
    "an endless integer": {"signature": _SIGNATURE | {"outputs": [10**400]}},
    "warnings that are texts": {"warnings": ["x"]},
    "a warning of another severity": {"warnings": [{"code": "x", "severity": "fatal", "detail": "x"}]},
    "a warning without end": {"warnings": [{"code": "x", "severity": "info", "detail": "x" * 10**5}]},
    "permission that is a text": {"runs_code": "no"},
    "a hash that is a path": {"bundle": HONEST["bundle"] | {"sha256": "../../keys/admin.key"}},
    "a size that is a text": {"bundle": HONEST["bundle"] | {"size_bytes": "1"}},
    "another task": {"task": "anything"},
    "classes that are records": {"classes": [{"a": 1}]},
    "metrics that are texts": {"metrics": {"roc_auc": "perfect"}},
    "an infinite metric": {"metrics": {"roc_auc": _INTERVAL | {"value": float("inf")}}},
}


def test_what_an_honest_child_says_is_kept() -> None:
    assert returned_record(Adoption, HONEST).model_dump(exclude_unset=True) == HONEST


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_what_fits_no_version_is_refused(lie: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refused:
        returned_record(Adoption, HONEST | lie)
    assert refused.value.code == "compute_result_refused"


@pytest.mark.parametrize("found", [
    {}, {"metric": 1, "checks": [], "comparisons": []}, {"metric": None, "checks": [{}], "comparisons": []},
    {"metric": None, "checks": [{"code": "x", "passed": True, "detail": "\0"}], "comparisons": []},
    {"metric": None, "checks": [], "comparisons": [{"against": "nobody", "scored": True}]},
])  # fmt: skip
def test_evidence_that_is_none_is_refused(found: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        returned_record(Weighed, found)
    with pytest.raises(Invalid):
        returned_record(Scored, found)
